package server

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"time"

	"fanfare/frame"
	"fanfare/server/internal/field"
	"fanfare/server/internal/handshake"
	"fanfare/server/internal/limit"
)

// Endpoint configures one path of the public listener, or a Mount.
type Endpoint struct {
	// Path, exactly: "/ws".
	Path string
	// Identifier returns whose session it is. nil: the session has no user, and no push
	// reaches it.
	Identifier Identifier
	// NonBlocking says that Identifier returns at once. It then runs where the request
	// was read, which costs less than a goroutine. Set it for an Identifier that looks
	// at the query or checks a signature with a key at hand, not for one that may ask
	// another machine.
	NonBlocking bool
	// Insecure says that Identifier proves nothing, so that New can reject a
	// configuration that exposes it.
	Insecure bool
	// Dialects are those that sessions may speak. The first sub-protocol that a client
	// offers and one of them has as its Protocol chooses that one (RFC 6455 section 1.9).
	// A client that offers none of them gets the dialect without a protocol, as the RFC
	// says, and decides itself whether to go on; it is rejected if there is no such
	// dialect. Empty: Plain.
	Dialects []Dialect
	// AllowQuery names query parameters that a handshake may have in addition to those
	// that Identifier and the dialect read. Any other is rejected with 400, because it
	// has no effect: most likely it is misspelled. Name those that middleware or a load
	// balancer reads. A name that ends with "*" stands for every name with that prefix.
	// An Identifier that calls Request.HTTP, and a program that tells a Mount the
	// identity, may have read the query themselves: then every parameter is allowed.
	AllowQuery []string
	// Rules for what comes in, and for compression. The zero value is safe.
	Rules frame.Rules
	// Rate limits what one connection may send. The zero value is the default.
	Rate Rate
	// Compress offers permessage-deflate, RFC 7692, as Rules.Deflate says. It
	// costs CPU for each message, and no memory for a connection that is idle.
	Compress bool
	// Hooks are the functions of the application.
	Hooks Hooks
}

func (ep *Endpoint) validate() error {
	if !strings.HasPrefix(ep.Path, "/") || strings.ContainsAny(ep.Path, "?# \r\n") {
		return field.Errorf("Path", "is %q: want a path that begins with / and has no query", ep.Path)
	}
	if len(ep.Dialects) == 0 {
		ep.Dialects = []Dialect{Plain()}
	}
	if len(ep.Dialects) > dialectMask+1 {
		return &endpointError{ep.Path, field.Errorf("Dialects", "has %d values: want at most %d", len(ep.Dialects), dialectMask+1)}
	}
	for _, d := range ep.Dialects {
		if p := d.Protocol(); p != "" && !handshake.ValidProtocol(p) {
			return &endpointError{ep.Path, field.Errorf("Dialects", "has the sub-protocol %q, which is not a token (RFC 6455 section 4.1)", p)}
		}
	}
	if err := ep.Rate.validate(); err != nil {
		return &endpointError{ep.Path, err}
	}
	if err := ep.Rules.Validate(); err != nil {
		return &endpointError{ep.Path, err}
	}
	return nil
}

// endpointError is an error in a field of one endpoint.
type endpointError struct {
	path string
	err  error
}

// EndpointPath returns the path of the endpoint, for programs whose endpoints share their
// settings and so their errors.
func (e *endpointError) EndpointPath() string { return e.path }

func (e *endpointError) Error() string { return "endpoint " + e.path + ": " + e.err.Error() }
func (e *endpointError) Unwrap() error { return e.err }

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
	// Data is kept for Session.Data.
	Data any
	// Expires, if not zero, is when the session is closed with 3000, within a second.
	Expires time.Time
}

// PushEndpoint returns the endpoint for push sessions: the query names user and topics,
// and what plain clients send is discarded. It proves nothing: set Identifier, and Insecure
// to false, for users who must prove who they are.
func PushEndpoint(path string) Endpoint {
	return Endpoint{Path: path, Identifier: FromQuery, NonBlocking: true, Insecure: true, Dialects: []Dialect{Plain(), V1()}}
}

// EchoEndpoint returns the endpoint that sends every message back, for measuring: on
// loopback its Rate is unlimited. A Mount does not know its address: there it has the
// default.
func EchoEndpoint(path string) Endpoint {
	return Endpoint{Path: path, Rate: Rate{UnlimitedOnLoopback: true}, Hooks: Hooks{OnMessage: func(s *Session, op Op, payload []byte) {
		s.Send(op, payload)
	}}}
}

// anyTopic is a MaySubscribe that allows every topic.
var anyTopic = []string{"*"}

// FromQuery trusts the query: ?user=NAME (or userId), &topic= any number of
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

// Hooks are the functions of an application that an endpoint calls. All are optional. Hooks
// of one session never overlap, except OnTimer. A hook may block: other sessions are served meanwhile,
// up to Config.Workers. A panic closes its session with 1011 and is logged with its
// stack.
type Hooks struct {
	// OnOpen is the first call for a session, when the handshake is done.
	OnOpen func(s *Session)
	// OnMessage is called for each text or binary message. payload is borrowed
	// until it returns, and may be modified.
	OnMessage func(s *Session, op Op, payload []byte)
	// OnTimer is called at the time of Session.SetTimer. One goroutine calls it for all
	// sessions, one after another: a call that takes long delays the others.
	OnTimer func(s *Session)
	// OnClose is the last call for a session that was open. Code and reason are those of
	// what ended the session first: Session.Close, the client's close frame, or the rule
	// that the client broke. The code is 1006 when the connection broke,
	// and 1005 when the close frame had none. RFC 6455, 7.1.5 means something else by
	// the close code of a connection: that of the first close frame received.
	OnClose func(s *Session, why CloseError)
}

// Rate limits what one session may send. A session that exceeds it is closed with
// 1008. The zero value is the default.
type Rate struct {
	// Messages per second, control frames included. 0: 100, far more than a person or
	// a device sends to a push server.
	Messages int
	// Bytes per second, those of headers and empty fragments included; a compressed
	// message counts as what it inflates to, if that is more. 0: 256 KiB. A session
	// that was quiet may send ten times as many at once, and in any case one message
	// of Rules.MaxMessage.
	Bytes int
	// Unlimited switches the limits off, UnlimitedOnLoopback does where Config.Listen
	// is loopback or a Unix socket.
	Unlimited, UnlimitedOnLoopback bool
}

func (r *Rate) validate() error {
	for _, f := range []struct {
		name string
		v    *int
		def  int
	}{{"Rate.Messages", &r.Messages, 100}, {"Rate.Bytes", &r.Bytes, 256 << 10}} {
		if *f.v == 0 {
			*f.v = f.def
		}
		if *f.v < 0 || int64(*f.v) > limit.MaxRate {
			return field.Errorf(f.name, "is %d: want 1 to %d", *f.v, int64(limit.MaxRate))
		}
	}
	return nil
}

// rates returns the limits of a session of ep. A message of MaxMessage must pass, with its
// headers, and an eighth longer if deflate has not compressed it.
func (ep *endpoint) rates() limit.Rates {
	rate := ep.rate.Load()
	bytes := int64(rate.Bytes)
	longest := int64(cmp.Or(ep.Rules.MaxMessage, frame.DefaultMaxMessage))
	return limit.Rates{
		Messages: int64(rate.Messages),
		Bytes:    bytes,
		AtOnce:   max(bytes*limit.Burst, longest+longest/8+1<<10),
	}
}

var errOverRate = &frame.CloseError{Code: frame.StatusPolicyViolation, Reason: "too much at once"}

// overRate closes a session that exceeds its endpoint's Rate.
func (s *Session) overRate() {
	s.srv().stats.overRate.Add(1)
	s.fail(errOverRate)
}

// metered returns the meter for a read of n bytes. It returns nil if the read is free:
// where there is no limit, and for bytes that may be the answer to a ping, so that an idle
// session needs no meter.
func (s *Session) metered(ep *endpoint, n int, now, heard uint32) *limit.Meter {
	if ep.rate.Load().Unlimited || n <= maxPong && s.pinged.Load() >= heard && s.pinged.Load() != 0 {
		return nil
	}
	return &s.extend().meter
}

// maxPong is the length of the longest pong.
const maxPong = 2 + 4 + 125
