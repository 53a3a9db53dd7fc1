package identity

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"fanfare/registry"
	"fanfare/server/internal/handshake"
	"fanfare/server/where"
)

// Identity says to which user a session belongs, and what it may do.
type Identity struct {
	// User owns the session. Empty: the session has no user, and no push reaches it.
	// registry.CheckName says what a name may be.
	User string
	// Topics that the session subscribes to when it opens.
	Topics []string
	// MaySubscribe are the topics that the client may subscribe to later, where its
	// dialect lets it. A name that ends with "*" stands for every name with that
	// prefix.
	MaySubscribe []string
	// MayPublish are, in the same form, the topics that the client may publish to, where its
	// dialect lets it. MayReadPresence are those whose subscribers it may learn of, see the
	// method of Session: the server's own dialects tell no client.
	MayPublish, MayReadPresence []string
	// Limits of the session, below those of the server. They do not concern what the
	// application does, except that its method Subscribe respects Limits.Topics.
	Limits Limits
	// Labels say what kind of client it is, for pushes that select by them, see
	// Audience.Where of package server: "platform": "ios". where.MakeLabels says what they may be.
	Labels map[string]string
	// Data is kept for Session.Data of package server.
	Data any
	// Expires, if not zero, is when the session is closed with 3000, within a second.
	Expires time.Time
	// ValidUntil, if not zero, is when what proves the identity can open no further session,
	// such as the expiry of a token. It bounds resume tickets, and closes nothing.
	ValidUntil time.Time
	// TokenID and Issued are the ID of what proves the identity, empty if it has none, and
	// when it was issued; zero: when the session is identified. Config.Revocations of package server may
	// concern them.
	TokenID string
	Issued  time.Time
}

// MaxNames bounds each list of an Identity.
const MaxNames = 1000

// Check checks the lists, labels and limits of an identity, but not User and Topics, whose
// limits are those of a server. The error is the answer to the client.
func Check(id *Identity) error {
	for _, l := range []struct {
		name string
		list []string
	}{{"subscribe", id.MaySubscribe}, {"publish", id.MayPublish}, {"presence", id.MayReadPresence}} {
		if len(l.list) > MaxNames {
			return handshake.Reject(http.StatusBadRequest, "more than "+strconv.Itoa(MaxNames)+" names of topics to "+l.name)
		}
		for _, name := range l.list {
			if err := registry.CheckName(name); err != nil {
				return handshake.Reject(http.StatusBadRequest, l.name+": "+err.Error())
			}
		}
	}
	if len(id.Labels) > 0 {
		if _, err := where.MakeLabels(id.Labels); err != nil {
			return handshake.Reject(http.StatusBadRequest, "labels: "+err.Error())
		}
	}
	if id.Limits.Messages < 0 || id.Limits.Topics < 0 {
		return fmt.Errorf("server: Identity.Limits is %+v: want numbers from 1, or 0 for the limits of the server", id.Limits)
	}
	return nil
}
