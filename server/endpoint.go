package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"

	"fanfare/frame"
	"fanfare/server/internal/field"
	"fanfare/server/internal/handshake"
)

// Endpoint configures one path of the public listener, or a Mount.
type Endpoint struct {
	// Path, exactly: "/ws". One that ends with "/*" is for every path that has one more
	// segment, which is not empty, and no endpoint of its own: see Request.Path.
	Path string
	// Identifier returns whose session it is. nil: the session has no user, and no push
	// reaches it.
	Identifier Identifier
	// Refresh, if not nil, lets clients of fanfare.v1 send a token before the identity of
	// their session expires, see Session.Refresh.
	Refresh Refresher
	// Tickets, if not nil, sends clients of fanfare.v1 a resume ticket in hello. A handshake
	// with one, as "Authorization: Ticket TICKET" or ?ticket=TICKET, opens a session
	// without the Identifier, unless the ticket is not valid any more, or the client asks for a
	// topic that is not in Identity.MaySubscribe. Name the parameters that Identifier reads in
	// AllowQuery, so that they may be there beside a ticket. See package ticket.
	Tickets Tickets
	// NonBlocking says that Identifier returns at once. It then runs where the request
	// was read, which costs less than a goroutine. Set it for an Identifier that looks
	// at the query or checks a signature with a key at hand, not for one that always
	// asks another machine; one that does so now and then returns ErrMustWait.
	NonBlocking bool
	// Insecure says that Identifier proves nothing, so that New can reject a
	// configuration that exposes it.
	Insecure bool
	// Dialects are those that sessions may speak. The first sub-protocol that a client
	// offers and one of them has as its Protocol chooses that one (RFC 6455 section 1.9).
	// A client that offers none of them gets the dialect without a protocol, as the RFC
	// says, and decides itself whether to go on; it is rejected if there is no such
	// dialect. Empty: Plain. All are Streams, or none is.
	Dialects []Dialect
	// AllowQuery names query parameters that a handshake may have in addition to those
	// that Identifier and the dialect read. Any other is rejected with 400, because it
	// has no effect: most likely it is misspelled. Name those that middleware or a load
	// balancer reads. A name that ends with "*" stands for every name with that prefix.
	// An Identifier that calls Request.HTTP, and a program that tells a Mount the
	// identity, may have read the query themselves: then every parameter is allowed.
	AllowQuery []string
	// AllowOrigins, if not nil, takes the place of Config.AllowOrigins: for an endpoint that
	// proves nothing by cookies or the client's address, and may be open to every page.
	AllowOrigins []string
	// Rules for what comes in, and for compression. The zero value is safe.
	Rules frame.Rules
	// Rate limits what one connection may send. The zero value is the default.
	Rate Rate
	// Compress offers permessage-deflate, RFC 7692, as Rules.Deflate says. It
	// costs CPU for each message, and no memory for a connection that is idle.
	Compress bool
	// ReportMessages reports the messages that clients of dialects like Plain send to
	// Config.Observer, as MessageReceived.
	ReportMessages bool
	// Respond, if not nil, answers requests of clients of fanfare.v1, and what clients of
	// dialects like Plain send, after Hooks.OnMessage.
	Respond Responder
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
	if err := ep.checkStreams(); err != nil {
		return &endpointError{ep.Path, err}
	}
	if err := ep.checkTickets(); err != nil {
		return &endpointError{ep.Path, err}
	}
	if len(ep.Dialects) > dialectMask+1 {
		return &endpointError{ep.Path, field.Errorf("Dialects", "has %d values: want at most %d", len(ep.Dialects), dialectMask+1)}
	}
	for _, d := range ep.Dialects {
		if p := d.Protocol(); p != "" && !handshake.ValidProtocol(p) {
			return &endpointError{ep.Path, field.Errorf("Dialects", "has the sub-protocol %q, which is not a token (RFC 6455 section 4.1)", p)}
		}
	}
	if strings.Contains(strings.TrimSuffix(ep.Path, "/*"), "*") {
		return field.Errorf("Path", "is %q: want * as its last segment only", ep.Path)
	}
	for _, o := range ep.AllowOrigins {
		if err := handshake.ValidateOrigin(o); err != nil {
			return &endpointError{ep.Path, field.Errorf("AllowOrigins", "has %w", err)}
		}
	}
	for _, name := range ep.AllowQuery {
		if strings.ContainsAny(name, "&=?#") || strings.Contains(strings.TrimSuffix(name, "*"), "*") || name == "" {
			return &endpointError{ep.Path, field.Errorf("AllowQuery", "has %q: want the name of a parameter, or its beginning and a *", name)}
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

// FromQuery trusts the query: ?user=NAME (or userId), &topic= and &label=NAME=VALUE any number
// of times. It is for development. A handshake with a token is rejected, because FromQuery does
// not check it.
func FromQuery(_ context.Context, r *Request) (Identity, error) {
	if scheme, _, _ := strings.Cut(r.Header("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		return Identity{}, errUncheckedToken
	}
	user, topics := r.Query("user"), r.QueryAll("topic")
	if user == "" {
		user = r.Query("userId")
	}
	if user == "" {
		rejection := &Rejection{Status: http.StatusBadRequest, Text: "no user: connect to " + r.Path() + "?user=NAME"}
		rejection.Reason = rejection.Text
		if unread := r.Unread(); len(unread) > 0 { // a misspelled one
			rejection.Text += "; the query has " + strings.Join(unread, ", ")
		}
		return Identity{}, rejection
	}
	labels, err := queryLabels(r.QueryAll("label"))
	return Identity{User: user, Topics: topics, MaySubscribe: anyTopic, Labels: labels}, err
}

// queryLabels reads NAME=VALUE any number of times.
func queryLabels(list []string) (labels map[string]string, err error) {
	for _, label := range list {
		name, value, ok := strings.Cut(label, "=")
		if _, again := labels[name]; again || !ok {
			return nil, Reject(http.StatusBadRequest, "label: want NAME=VALUE, each name once")
		}
		if labels == nil {
			labels = make(map[string]string, len(list))
		}
		labels[name] = value
	}
	return labels, nil
}

var errUncheckedToken = Reject(http.StatusBadRequest, "the Authorization field has a token, but this server takes the user from the query and checks no tokens: "+
	"remove the field, or configure authentication")

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
	// OnTopic is called after each change of the session's subscriptions, by whatever makes
	// it: subscribed tells whether the topic was added. When the session ends it is called for
	// the topics that are left, before OnClose. It is not called for the topics that a session
	// begins with: OnOpen and OnTakeOver find them in Session.Topics. It may overlap with
	// other hooks, because the API changes subscriptions, too.
	OnTopic func(s *Session, topic string, subscribed bool)
	// OnHandOver returns Session.Data for another process that takes the session over, see
	// Server.HandOver, and OnTakeOver is the first call for a session that this process takes
	// over, with what OnHandOver has returned in the other one. A session whose Data is not
	// nil, and for which OnHandOver is nil or returns an error, is not handed over. OnHandOver
	// must not block. It may be called again, and the session may go on in this process.
	OnHandOver func(s *Session) ([]byte, error)
	OnTakeOver func(s *Session, data []byte)
	// OnClose is the last call for a session that was open. Code and reason are those of
	// what ended the session first: Session.Close, the client's close frame, or the rule
	// that the client broke. The code is 1006 when the connection broke,
	// and 1005 when the close frame had none. RFC 6455, 7.1.5 means something else by
	// the close code of a connection: that of the first close frame received.
	OnClose func(s *Session, why CloseError)
}

// servePlain answers a request that is not a handshake: at the paths of endpoints it says how
// to connect, and the rest is left to Config.Fallback.
func (srv *Server) servePlain(w http.ResponseWriter, r *http.Request) {
	if ep := srv.endpointAt(r.URL.EscapedPath()); ep.streams() {
		ep.serveStream(w, r, nil)
		return
	} else if ep != nil {
		ep.upgradeRequired(w, r)
		return
	}
	if srv.cfg.Fallback == nil {
		plainText(w, http.StatusNotFound, srv.rejectedPlain(&Rejection{Status: http.StatusNotFound, Text: "nothing is at this path"}, r).Text)
		return
	}
	defer func() {
		if v := recover(); v != nil && v != http.ErrAbortHandler {
			srv.panicked("Config.Fallback", v)
			panic(http.ErrAbortHandler) // net/http closes the connection
		}
	}()
	srv.cfg.Fallback.ServeHTTP(w, r)
}

// rejectedPlain is rejected for a request that is not a handshake.
func (srv *Server) rejectedPlain(rejection *Rejection, r *http.Request) *Rejection {
	h := handshakeBuffers.Get().(*handshakeBuffer)
	defer h.free()
	h.req.fromHTTP(r)
	return srv.rejected(rejection, &h.req)
}

// upgradeRequired tells a client that speaks HTTP how to use the endpoint.
func (ep *endpoint) upgradeRequired(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", "GET") // RFC 6455 section 4.1: a handshake is nothing else
		plainText(w, http.StatusMethodNotAllowed, ep.srv.rejectedPlain(&Rejection{Status: http.StatusMethodNotAllowed, Text: "only GET is possible here"}, r).Text)
		return
	}
	if r.Header.Get(checkHeader) != "" {
		ep.answerCheck(w, r)
		return
	}
	nc, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic("BUG: server: a fallback connection cannot be hijacked: " + err.Error())
	}
	defer nc.Close()
	// net/http would take the option "upgrade" out of Connection, which Upgrade needs
	// (RFC 9110 sections 7.8 and 15.5.22).
	scheme := "ws"
	if r.TLS != nil {
		scheme = "wss"
	}
	rejection := ep.srv.rejectedPlain(&Rejection{
		Status: http.StatusUpgradeRequired,
		Text:   "This is a WebSocket endpoint. Connect to " + scheme + "://HOST" + ep.example() + " with a WebSocket client.",
		Header: http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Version": {"13"}},
		Reason: "no WebSocket handshake: a proxy may have removed the field Upgrade",
	}, r)
	nc.Write(rejection.AppendResponse(nil, ep.srv.wall()))
}

func plainText(w http.ResponseWriter, status int, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	w.WriteHeader(status)
	fmt.Fprintln(w, text)
}

// example is the path of the endpoint, with the query that its clients need.
func (ep *endpoint) example() string {
	switch ep.Credentials() {
	case "query":
		return ep.Path + "?user=NAME&topic=TOPIC"
	case "token":
		return ep.Path + "?token=TOKEN"
	}
	return ep.Path
}

// Credentials returns how the endpoint identifies users: "none", "query", or "token" for
// everything that proves an identity. It is for pages that say how to connect, such as that
// of package console.
func (ep *Endpoint) Credentials() string {
	switch {
	case ep.Identifier == nil:
		return "none"
	case ep.Insecure:
		return "query"
	}
	return "token"
}

// findEndpoint returns the endpoint at a path, of the public listener or a Mount; nil if
// there is none.
func (srv *Server) findEndpoint(path string) *endpoint {
	if ep := srv.endpoints[path]; ep != nil {
		return ep
	}
	ep, _ := srv.mounts.Load(path)
	found, _ := ep.(*endpoint)
	return found
}

// endpointAt returns the endpoint of a path, as a client sends it; nil if there is none. An
// endpoint of exactly this path precedes one of a pattern, see Endpoint.Path.
func (srv *Server) endpointAt(path string) *endpoint {
	if ep := srv.endpoints[path]; ep != nil {
		return ep
	}
	slash := strings.LastIndexByte(path, '/')
	if slash < 0 || slash == len(path)-1 || !srv.patterns {
		return nil
	}
	return srv.endpoints[path[:slash+1]+"*"]
}

func (ep *endpoint) findDialect(protocol string) (index int, ok bool) {
	for i, d := range ep.Dialects {
		if d.Protocol() == protocol {
			return i, true
		}
	}
	return 0, false
}

// checkHeader marks a plain GET request at an endpoint as a question: the answer is what
// a WebSocket handshake with the same query and header would get. Browsers do not tell
// pages why a handshake was rejected, and with curl it takes four headers. A value other than
// "1" is what the handshake offers in Sec-WebSocket-Protocol, which pages cannot send.
const checkHeader = "Fanfare-Check"

// answerCheck answers such a request. It counts as a handshake against the rates, so that
// it gives an attacker no more attempts at guessing a token. A page of another site cannot send
// it: the header makes browsers ask first, with OPTIONS.
func (ep *endpoint) answerCheck(w http.ResponseWriter, r *http.Request) {
	h := handshakeBuffers.Get().(*handshakeBuffer)
	defer h.free()
	h.req.fromHTTP(r)
	for _, f := range [][2]string{
		{"Upgrade", "websocket"}, {"Connection", "Upgrade"},
		{"Sec-WebSocket-Version", "13"}, {"Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="},
	} {
		if r.Header.Get(f[0]) == "" || f[0] == "Connection" {
			h.req.head.Add(f[0], f[1])
		}
	}
	if offered := r.Header.Get(checkHeader); offered != "1" {
		h.req.head.Add("Sec-WebSocket-Protocol", offered)
	}
	_, err := ep.decideHosted(r.Context(), h, nil)
	var rejection *Rejection
	switch {
	case err == nil:
		plainText(w, http.StatusOK, "the handshake would be accepted")
	case errors.As(err, &rejection):
		maps.Copy(w.Header(), rejection.Header)
		plainText(w, rejection.Status, rejection.Text)
	default:
		ep.srv.log.Error("handshake check failed", "err", err)
		plainText(w, handshake.ErrInternal.Status, handshake.ErrInternal.Text)
	}
}
