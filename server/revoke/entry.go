package revoke

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"fanfare/server/internal/strict"
)

// Entry says which identities are revoked. Exactly one of User, Token and All is set. Times
// are in seconds since 1970.
type Entry struct {
	// ID follows from User, Token or All, and from whether Before is there. List sets it.
	ID string `json:"id,omitzero"`
	// User whose identities are revoked.
	User string `json:"user,omitzero"`
	// Token is the ID of a token, its claim jti.
	Token string `json:"token,omitzero"`
	// All revokes the identities of all users. It needs Before.
	All bool `json:"all,omitzero"`
	// Before limits the entry to identities that were issued before this time. 0: a User is
	// revoked whenever the identity was issued.
	Before float64 `json:"before,omitzero"`
	// Created is when the entry was made; List sets it.
	Created int64 `json:"created,omitzero"`
	// Expires is when the entry is removed. 0: after Config.Age, which is the most.
	Expires int64 `json:"expires,omitzero"`

	// Revision of the entry in the Store, 0 if that is not known.
	Revision uint64 `json:"-"`
}

// maxName bounds User and Token, in bytes.
const maxName = 1024

// maxAhead is how far Before may be in the future: clocks differ. More is most likely a
// number of milliseconds, which would revoke everything permanently.
const maxAhead = 60

// ErrInvalid is wrapped by errors in an Entry.
var ErrInvalid = errors.New("invalid revocation")

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// Parse reads an entry strictly from a JSON object with the members user, token, all, before
// and expires. Errors wrap ErrInvalid.
func Parse(text []byte) (Entry, error) {
	var in struct {
		User    *string  `json:"user"`
		Token   *string  `json:"token"`
		All     *bool    `json:"all"`
		Before  *float64 `json:"before"`
		Expires *int64   `json:"expires"`
	}
	if err := unmarshal(text, &in); err != nil {
		return Entry{}, err
	}
	var e Entry
	if in.User != nil {
		if e.User = *in.User; e.User == "" {
			return Entry{}, invalid("user is empty")
		}
	}
	if in.Token != nil {
		if e.Token = *in.Token; e.Token == "" {
			return Entry{}, invalid("token is empty")
		}
	}
	if in.All != nil {
		if e.All = *in.All; !e.All {
			return Entry{}, invalid("all is false: leave it out")
		}
	}
	if in.Before != nil {
		if e.Before = *in.Before; e.Before <= 0 {
			return Entry{}, invalid("before is %v: want seconds since 1970", e.Before)
		}
	}
	if in.Expires != nil {
		if e.Expires = *in.Expires; e.Expires <= 0 {
			return Entry{}, invalid("expires is %d: want seconds since 1970, in the future", e.Expires)
		}
	}
	return e, e.check()
}

func unmarshal(text []byte, into any) error {
	if err := strict.Unmarshal(text, into, "user, token, all, before or expires"); err != nil {
		return invalid("%s", err)
	}
	return nil
}

// check applies the rules that do not depend on the time.
func (e *Entry) check() error {
	named := 0
	for _, given := range []bool{e.User != "", e.Token != "", e.All} {
		if given {
			named++
		}
	}
	switch {
	case named != 1:
		return invalid("it names %d of user, token and all: want exactly one", named)
	case e.All && e.Before == 0:
		return invalid("all needs before: without it no client could connect")
	case e.Token != "" && e.Before != 0:
		return invalid("a token was issued once: before goes with user or all")
	case math.IsNaN(e.Before) || e.Before < 0:
		return invalid("before is %v: want seconds since 1970", e.Before)
	case len(e.User) > maxName || len(e.Token) > maxName:
		return invalid("a name of more than %d bytes", maxName)
	case !utf8.ValidString(e.User) || !utf8.ValidString(e.Token):
		return invalid("a name is not UTF-8")
	}
	return nil
}

// complete checks an entry that is new at a time, and fills in the rest.
func (e *Entry) complete(now time.Time, age time.Duration) error {
	if err := e.check(); err != nil {
		return err
	}
	e.Created, e.Revision = now.Unix(), 0
	latest := now.Add(age).Unix()
	switch {
	case e.Before > float64(e.Created+maxAhead):
		return invalid("before is %.0f, in the future: want seconds since 1970, which are now %d", e.Before, e.Created)
	case e.Expires == 0:
		e.Expires = latest
	case e.Expires <= e.Created:
		return invalid("expires is %d, which has passed: it is now %d", e.Expires, e.Created)
	case e.Expires > latest:
		return invalid("expires is %d: entries last for %v at most, until %d", e.Expires, age, latest)
	}
	e.ID = e.target().id()
	return nil
}

// Decode reads an entry that a Store, or another node, has.
func Decode(text []byte) (Entry, error) {
	var e Entry
	if err := unmarshal(text, &e); err != nil {
		return Entry{}, err
	}
	if err := e.check(); err != nil {
		return Entry{}, err
	}
	if id := e.target().id(); e.ID != id {
		return Entry{}, invalid("its id is %.40q: want %s", e.ID, id)
	}
	return e, nil
}

// Encode returns what Decode reads.
func (e Entry) Encode() []byte {
	text, err := json.Marshal(e, json.Deterministic(true))
	if err != nil {
		panic("BUG: revoke: an entry that was checked cannot be encoded: " + err.Error())
	}
	return text
}

// target is what an entry is about.
type target struct {
	kind kind
	name string
}

type kind string

const (
	byUser  kind = "user"   // whenever the identity was issued
	byIssue kind = "before" // an empty name: all users
	byToken kind = "token"
)

func (e *Entry) target() target {
	switch {
	case e.Token != "":
		return target{byToken, e.Token}
	case e.Before != 0:
		return target{byIssue, e.User}
	}
	return target{byUser, e.User}
}

// id is 128 bits of a hash, so that it fits anywhere.
func (t target) id() string {
	sum := sha256.Sum256([]byte(string(t.kind) + "\x00" + t.name))
	return hex.EncodeToString(sum[:16])
}

// merged returns one entry for two of the same target, which revokes what either does.
func merged(e, other Entry) Entry {
	e.Before, e.Expires = max(e.Before, other.Before), max(e.Expires, other.Expires)
	return e
}

// stronger reports whether e revokes something that other does not.
func stronger(e, other Entry) bool { return e.Before > other.Before || e.Expires > other.Expires }
