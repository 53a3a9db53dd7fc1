package node

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"fanfare/registry"
	"fanfare/server/where"
)

// Audience says which sessions receive a message: those of Users, subscribers of Topics, or
// Everyone with a user, less those that are excluded or do not meet Where. A session matched more than once
// receives the message once. The zero Audience is nobody.
type Audience struct {
	Everyone      bool // then Users and Topics are empty
	Users, Topics []string
	// ExcludeUsers are users whose sessions do not receive the message. A user without a
	// session is not an error.
	ExcludeUsers []string
	// ExcludeSessions are values of SessionInfo.ID, of any node. A session that has ended is
	// not an error.
	ExcludeSessions []string
	// Where, unless nil, is what the labels of a receiver meet.
	Where *where.Expr
}

// MaxExcluded bounds Audience.ExcludeUsers and ExcludeSessions, each.
const MaxExcluded = 100

// ErrAudience is wrapped by errors about an Audience or a Pace.
var ErrAudience = errors.New("server: invalid audience")

// AudienceErrorf returns an error that wraps ErrAudience.
func AudienceErrorf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrAudience, fmt.Sprintf(format, args...))
}

// Check returns an error that wraps ErrAudience if a field has a value that Deliver rejects.
func (to *Audience) Check() error {
	if to.Everyone && len(to.Users)+len(to.Topics) > 0 {
		return AudienceErrorf("everyone includes the users and topics: remove them, or Everyone")
	}
	for _, list := range []struct {
		what  string
		names []string
	}{{"user", to.Users}, {"topic", to.Topics}, {"excluded user", to.ExcludeUsers}} {
		for _, name := range list.names {
			if err := registry.CheckName(name); err != nil {
				return AudienceErrorf("%s: %s", list.what, err)
			}
		}
	}
	if n := max(len(to.ExcludeUsers), len(to.ExcludeSessions)); n > MaxExcluded {
		return AudienceErrorf("%d names are excluded: want at most %d users and %d sessions", n, MaxExcluded, MaxExcluded)
	}
	for _, id := range to.ExcludeSessions {
		if _, _, err := CutSessionID(id); err != nil {
			return err
		}
	}
	return nil
}

// CutSessionID cuts the ID of a session into the name of its node, empty without a cluster,
// and its Session.ID.
func CutSessionID(id string) (node string, number uint64, err error) {
	at := strings.LastIndexByte(id, '/')
	if at > 0 {
		node = id[:at]
	}
	digits := id[at+1:]
	number, err = strconv.ParseUint(digits, 10, 64)
	if err != nil || strconv.FormatUint(number, 10) != digits || at == 0 || len(id) > 512 || !utf8.ValidString(id) {
		return "", 0, AudienceErrorf("excluded session %.80q: want an id from a list of sessions", id)
	}
	return node, number, nil
}
