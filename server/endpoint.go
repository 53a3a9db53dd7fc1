package server

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"fanfare/frame"
	"fanfare/server/internal/field"
	"fanfare/server/internal/handshake"
)

// Endpoint is what one path of the public listener speaks.
type Endpoint struct {
	// Path, exactly: "/ws".
	Path string
	// Identifier tells whose session it is, from the request. nil: the session has
	// no user, and no push reaches it.
	Identifier Identifier
	// NonBlocking tells that Identifier returns at once: it runs where the request
	// was read, which costs less than a goroutine. One that looks at the query or
	// checks a signature with a key at hand is such; one that may ask another
	// machine is not.
	NonBlocking bool
	// Insecure tells that Identifier proves nothing, so that New can reject a
	// configuration that exposes it.
	Insecure bool
	// Dialects that are spoken; the client's first offer that one of them has as
	// its Protocol chooses it (RFC 6455 section 1.9). A client that offers none of
	// them gets the dialect without a protocol, as the RFC says, and decides itself
	// whether to go on; if there is none, it is rejected. Empty: Plain.
	Dialects []Dialect
	// Rules for what comes in, and for compression. The zero value is safe.
	Rules frame.Rules
	// Rate limits what one connection may send. The zero value is the default.
	Rate Rate
	// Compress offers permessage-deflate, RFC 7692, as Rules.Deflate says. It
	// costs CPU for each message, and no memory for a connection that is idle.
	Compress bool
	// Hooks are the application.
	Hooks Hooks
}

func (ep *Endpoint) validate() error {
	if !strings.HasPrefix(ep.Path, "/") || strings.ContainsAny(ep.Path, "?# \r\n") {
		return field.Errorf("Path", "is %q: want a path that begins with / and has no query", ep.Path)
	}
	if len(ep.Dialects) == 0 {
		ep.Dialects = []Dialect{Plain}
	}
	if len(ep.Dialects) > dialectMask+1 {
		return fmt.Errorf("endpoint %s: %w", ep.Path, field.Errorf("Dialects", "has %d values: want at most %d", len(ep.Dialects), dialectMask+1))
	}
	for _, d := range ep.Dialects {
		if p := d.Protocol(); p != "" && !handshake.ValidProtocol(p) {
			return fmt.Errorf("endpoint %s: %w", ep.Path, field.Errorf("Dialects", "has the sub-protocol %q, which is not a token (RFC 6455 section 4.1)", p))
		}
	}
	if err := ep.Rate.validate(); err != nil {
		return fmt.Errorf("endpoint %s: %w", ep.Path, err)
	}
	if err := ep.Rules.Validate(); err != nil {
		return fmt.Errorf("endpoint %s: %w", ep.Path, err)
	}
	return nil
}

// Identity is who a connection belongs to.
type Identity struct {
	// User; empty: nobody. registry.CheckName says what a name may be.
	User string
	// Topics that the session subscribes to when it opens.
	Topics []string
	// MaySubscribe are the topics that the client may subscribe to later, where its
	// dialect lets it. A name that ends with "*" stands for every name with that
	// prefix.
	MaySubscribe []string
	// Data is kept for Session.Data.
	Data any
	// Expires, if not zero, is when the session is closed with 3000, within a second.
	Expires time.Time
}

// Push is the endpoint for push sessions: the query names user and topics, what
// clients send is read and ignored. Use Authenticated for real identities.
func Push(path string) Endpoint {
	return Endpoint{Path: path, Identifier: FromQuery, NonBlocking: true, Insecure: true, Dialects: []Dialect{Plain, V1}}
}

// Echo is the endpoint that sends every message back, for measuring: on loopback its
// Rate is unlimited. Mounted, where nobody knows on which address, it has the default.
func Echo(path string) Endpoint {
	return Endpoint{Path: path, Rate: Rate{UnlimitedOnLoopback: true}, Hooks: Hooks{OnMessage: func(s *Session, op Op, payload []byte) {
		s.Send(op, payload)
	}}}
}

// anyTopic allows every topic.
var anyTopic = []string{"*"}

// FromQuery believes the query: ?user=NAME (or userId), &topic= any number of
// times. It is for development.
func FromQuery(_ context.Context, r *Request) (Identity, error) {
	user := r.Query("user")
	if user == "" {
		user = r.Query("userId")
	}
	if user == "" {
		return Identity{}, Reject(http.StatusBadRequest, "no user: connect to "+r.Path()+"?user=NAME")
	}
	return Identity{User: user, Topics: r.QueryAll("topic"), MaySubscribe: anyTopic}, nil
}
