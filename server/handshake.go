package server

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"

	"github.com/gobwas/ws"

	"fanfare/frame"
	"fanfare/netpoll"
	"fanfare/registry"
)

// handshake is what one opening handshake needs. It is pooled: a session has
// one only while its request is being looked at, or comes in pieces.
type handshake struct {
	gathered []byte // the request, if it did not come in one read
	req      Request
	upgrade  upgrade
}

var handshakes = sync.Pool{New: func() any { return new(handshake) }}

func (h *handshake) free() {
	if cap(h.gathered) > 8<<10 {
		h.gathered = nil
	}
	h.gathered = h.gathered[:0]
	clear(h.req.headers)
	h.req = Request{headers: h.req.headers[:0]}
	h.upgrade.reset()
	handshakes.Put(h)
}

var headEnd = []byte("\r\n\r\n")

// shake takes bytes of the opening handshake and returns what follows it, which
// is for the decoder. The session is open behind it, or lingering, or still
// shaking if the request is not complete.
func (s *Session) shake(b []byte) []byte {
	if a := s.endpoint().arrival; a != nil {
		if a.err = s.open(a.ep, &a.admission); a.err != nil {
			s.refuse(a.err)
			return nil
		}
		return b
	}
	most := s.srv().cfg.MaxHeader
	var h *handshake
	head, rest := b, []byte(nil)
	if x := s.ext.Load(); x != nil && x.shake != nil {
		h = x.shake
		// The end may lie across the cut: look at the last three bytes again.
		from := max(len(h.gathered)-3, 0)
		h.gathered = append(h.gathered, b...)
		end := bytes.Index(h.gathered[from:], headEnd)
		if end < 0 {
			if len(h.gathered) > most {
				s.tooLong(most)
			}
			return nil
		}
		end += from + len(headEnd)
		if end > most {
			s.tooLong(most)
			return nil
		}
		head, rest = h.gathered[:end], b[len(b)-(len(h.gathered)-end):]
		x.shake = nil
	} else {
		end := bytes.Index(b, headEnd)
		if end += len(headEnd); end < len(headEnd) || end > most {
			if len(b) > most || end > most {
				s.tooLong(most)
				return nil
			}
			h = handshakes.Get().(*handshake)
			h.gathered = append(h.gathered, b...)
			s.extend().shake = h
			return nil
		}
		h = handshakes.Get().(*handshake)
		head, rest = b[:end], b[end:]
	}
	defer h.free()
	if err := s.begin(h, head); err != nil {
		if errors.Is(err, errPlain) {
			s.srv().servePlain(s, head, rest)
			return nil
		}
		s.refuse(err)
		return nil
	}
	return rest
}

func (s *Session) tooLong(most int) {
	s.refuse(Refuse(431, fmt.Sprintf("the request header is longer than %d bytes", most)))
}

// errPlain: the request is ordinary HTTP.
var errPlain = errors.New("no WebSocket handshake")

// begin checks a complete request and opens the session.
func (s *Session) begin(h *handshake, head []byte) error {
	srv := s.srv()
	r := &h.req
	if err := r.parse(head); err != nil {
		return err
	}
	if !r.hasToken("Upgrade", "websocket") {
		return errPlain
	}
	ep := srv.endpoints[string(r.path)]
	if ep == nil {
		return Refuse(404, "no WebSocket endpoint at "+string(r.path))
	}
	r.session = s
	a, err := ep.admit(h, nil)
	if err != nil {
		return err
	}
	return s.open(ep, &a)
}

// admission is the outcome of a handshake that is accepted. The answer is
// borrowed from the handshake.
type admission struct {
	id       Identity
	protocol string
	deflate  frame.Params
	answer   []byte
}

// admit checks the request in h. The session is to be that of preset, unless it
// is nil.
func (ep *endpoint) admit(h *handshake, preset *Identity) (a admission, err error) {
	r := &h.req
	if err := checkUpgrade(r); err != nil {
		return a, err
	}
	if origin, n := r.field("Origin"); n > 0 {
		host, _ := r.field("Host")
		if !originAllowed(string(origin), string(host), ep.srv.cfg.AllowOrigins) {
			return a, Refuse(403, "pages of this origin may not connect")
		}
	}
	if preset != nil {
		a.id = *preset
	} else if ep.Identify != nil {
		if a.id, err = ep.identify(r); err != nil {
			return a, err
		}
	}
	if err := ep.srv.checkIdentity(&a.id); err != nil {
		return a, err
	}
	a.protocol = chooseProtocol(r, ep.Protocols)
	var extension string
	if a.deflate, extension, err = ep.negotiate(r); err != nil {
		return a, err
	}
	a.answer, err = h.upgrade.answer(r, a.protocol, extension)
	return a, err
}

// open answers the handshake and makes the session known. The answer is corked
// until the session is registered, so that what is pushed meanwhile comes behind
// it, and so that it can be taken back.
func (s *Session) open(ep *endpoint, a *admission) error {
	srv := ep.srv
	s.ep.Store(ep)
	s.conn.Cork()
	if s.conn.WriteBorrowed(a.answer, netpoll.Control) == netpoll.Gone {
		return ErrClosed
	}
	if a.protocol != "" || a.id.Data != nil || !a.id.Expires.IsZero() {
		x := s.extend()
		x.protocol, x.data, x.expires = a.protocol, a.id.Data, srv.tickAt(a.id.Expires)
	}
	if a.deflate != (frame.Params{}) {
		s.compress(a.deflate)
	}
	s.opened = max(srv.tick.Load(), 1)
	srv.sessions.Add(1)
	err := s.list(&a.id)
	if err == nil && !s.enter(open, 0) {
		srv.users.Leave(s)
		err = ErrClosed
	}
	if err != nil {
		s.opened = 0
		srv.sessions.Add(-1)
		return err
	}
	srv.stats.handshakes.Add(1)
	s.arm(srv.cfg.PingInterval)
	s.conn.Uncork()
	if hook := s.endpoint().Hooks.OnOpen; hook != nil {
		s.guard(func() { hook(s) })
	}
	return nil
}

// list enters the session in the registry, if it has a user.
func (s *Session) list(id *Identity) error {
	if id.User == "" {
		return nil
	}
	users := s.srv().users
	if users.Join(id.User, s) != nil {
		return Refuse(http.StatusTooManyRequests, "this user has too many connections")
	}
	for _, topic := range id.Topics {
		users.Subscribe(s, topic) // was checked; fails only if it is gone already
	}
	return nil
}

// checkIdentity applies the one rule for names, and the bound on topics.
func (srv *Server) checkIdentity(id *Identity) error {
	if id.User == "" {
		return nil
	}
	if err := registry.CheckName(id.User); err != nil {
		return Refuse(400, "user: "+err.Error())
	}
	if len(id.Topics) > srv.cfg.TopicsPerSession {
		return Refuse(400, "more than "+strconv.Itoa(srv.cfg.TopicsPerSession)+" topics")
	}
	for _, t := range id.Topics {
		if err := registry.CheckName(t); err != nil {
			return Refuse(400, "topic: "+err.Error())
		}
	}
	return nil
}

// refuse answers a handshake with an HTTP error and ends the connection. The
// sending side is shut down and the rest of the request read, since a close with
// unread bytes would reset the connection and the client never see why.
func (s *Session) refuse(err error) {
	if errors.Is(err, ErrClosed) {
		return
	}
	srv := s.srv()
	r := srv.refusalOf(err)
	if s.enter(lingering, 0) {
		s.conn.Seal(r.response(), true, netpoll.HalfClose)
		s.arm(srv.cfg.CloseTimeout)
	}
}

// refusalOf counts an error and returns what the client is told of it: if it is
// no Refusal it is our fault, which is for the log.
func (srv *Server) refusalOf(err error) *Refusal {
	var r *Refusal
	if !errors.As(err, &r) || r.Status < 400 || r.Status > 599 {
		srv.log.Error("handshake failed", "err", err)
		r = &Refusal{Status: 500, Text: "internal error"}
	}
	srv.stats.refuse(r.Status)
	return r
}

// response is the refusal as HTTP.
func (r *Refusal) response() []byte {
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n%s\r\n%s\n",
		r.Status, http.StatusText(r.Status), len(r.Text)+1, r.header, r.Text)
}

// checkUpgrade is RFC 6455 section 4.2.1, item by item.
func checkUpgrade(r *Request) error {
	if string(r.version) != "HTTP/1.1" { // item 1
		return Refuse(505, "a WebSocket handshake needs HTTP/1.1")
	}
	if string(r.method) != "GET" { // item 1
		return &Refusal{Status: 405, Text: "a WebSocket handshake is a GET", header: "Allow: GET\r\n"}
	}
	if _, n := r.field("Host"); n != 1 { // item 2
		return Refuse(400, "want exactly one Host field")
	}
	if !r.hasToken("Upgrade", "websocket") { // item 3
		return &Refusal{Status: 426, Text: "want Upgrade: websocket", header: "Upgrade: websocket\r\nConnection: Upgrade\r\n"}
	}
	if !r.hasToken("Connection", "Upgrade") { // item 4
		return Refuse(400, "want Connection: Upgrade")
	}
	key, n := r.field("Sec-WebSocket-Key") // item 5
	var nonce [18]byte
	if size, err := base64.StdEncoding.Strict().Decode(nonce[:], key[:min(len(key), 24)]); n != 1 || len(key) != 24 || err != nil || size != 16 {
		return Refuse(400, "want one Sec-WebSocket-Key, base64 of 16 bytes")
	}
	if v, n := r.field("Sec-WebSocket-Version"); n != 1 || string(v) != "13" { // item 6, section 4.4
		return &Refusal{Status: 426, Text: "want Sec-WebSocket-Version: 13", header: "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n"}
	}
	// A body would be taken for frames, and what a proxy believes to be one can
	// be made to look like an answer.
	length, lengths := r.field("Content-Length")
	_, codings := r.field("Transfer-Encoding")
	if lengths > 0 && string(length) != "0" || codings > 0 {
		return Refuse(400, "a WebSocket handshake has no body")
	}
	for p := range r.list("Sec-WebSocket-Protocol") { // item 8
		if !isTokenBytes(p) {
			return Refuse(400, "malformed Sec-WebSocket-Protocol")
		}
	}
	return nil
}

// chooseProtocol takes the first that the client offers and the server speaks:
// the list is in the client's order of preference, section 4.1 item 10.
func chooseProtocol(r *Request, spoken []string) string {
	for offer := range r.list("Sec-WebSocket-Protocol") {
		for _, p := range spoken {
			if p == string(offer) {
				return p
			}
		}
	}
	return ""
}

// upgrade lets ws.Upgrader answer, over memory. gobwas refuses forms that are
// legal (a Connection field that is repeated, an Upgrade field that is a list) and
// accepts some that are not (a key that is no base64), so the request is checked
// before and given to it in canonical form.
type upgrade struct {
	in    []byte
	read  int
	out   []byte
	extra []byte // further lines of the answer
}

func (u *upgrade) reset() { u.in, u.out, u.extra, u.read = u.in[:0], u.out[:0], u.extra[:0], 0 }

func (u *upgrade) answer(r *Request, protocol, extension string) ([]byte, error) {
	u.reset()
	key, _ := r.field("Sec-WebSocket-Key")
	u.in = append(u.in, "GET / HTTP/1.1\r\nHost: \r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "...)
	u.in = append(append(u.in, key...), headEnd...)
	if protocol != "" {
		u.extra = append(append(append(u.extra, "Sec-WebSocket-Protocol: "...), protocol...), crlf...)
	}
	if extension != "" {
		u.extra = append(append(append(u.extra, "Sec-WebSocket-Extensions: "...), extension...), crlf...)
	}
	if _, err := (ws.Upgrader{Header: u, ReadBufferSize: 512, WriteBufferSize: 512}).Upgrade(u); err != nil {
		return nil, fmt.Errorf("BUG: the request was checked, and gobwas refuses it: %w", err)
	}
	return u.out, nil
}

// Read and Write are the connection that Upgrader sees.
func (u *upgrade) Read(p []byte) (int, error) {
	if u.read == len(u.in) {
		return 0, io.EOF
	}
	n := copy(p, u.in[u.read:])
	u.read += n
	return n, nil
}

func (u *upgrade) Write(p []byte) (int, error) {
	u.out = append(u.out, p...)
	return len(p), nil
}

// WriteTo writes further header fields of the answer.
func (u *upgrade) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(u.extra)
	return int64(n), err
}
