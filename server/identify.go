package server

import (
	"context"
	"crypto/tls"
	"errors"
	"math"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"fanfare/server/internal/field"
	"fanfare/server/internal/handshake"
	"fanfare/server/internal/limit"
)

// Identifier returns the identity of a client, from its handshake. An error that is a
// Rejection, see Reject, is sent to the client; any other error, and a panic, is logged,
// and the client gets 500.
//
// It may block: it runs on one of Config.Identifiers goroutines, while the connection
// waits for its answer. ctx ends with Config.HandshakeTimeout, when the client leaves,
// and when the server ends. On a Mount it runs on the goroutine of the HTTP server, ctx
// has the values of the request's context, and ends with that, too.
//
// If Endpoint.NonBlocking is set, it runs where the request was read, without a limit on
// its time, and must return at once. If it finds that it has to wait after all, it returns
// ErrMustWait, and is called again as if NonBlocking were not set; Request.MayBlock tells
// the calls apart.
type Identifier func(ctx context.Context, r *Request) (Identity, error)

// ErrMustWait is returned by an Identifier that must not block and cannot answer at once,
// see Endpoint.NonBlocking.
var ErrMustWait = errors.New("server: the identifier has to wait")

// identify calls the Identifier.
func (ep *endpoint) identify(ctx context.Context, r *Request) (id Identity, err error) {
	defer func() {
		if v := recover(); v != nil {
			ep.srv.panicked("Identifier", v, "endpoint", ep.Path)
			err = handshake.ErrInternal
		}
	}()
	ep.useTicket(r)
	return ep.Identifier(ctx, r)
}

// identification is a handshake that waits for an Identifier, or for a place to run it.
// identifierBit is set in the session's state meanwhile, and the rights of the read turn
// over the session's fields are those of the holder of identification.mu:
//
//	read turn: identifyLater ──▶ goroutine: finish opens the session or rejects it ──▶ read turn
//
// Bytes that arrive meanwhile are kept, up to maxEarly of them.
type identification struct {
	// Immutable, except that start sets job.
	s       *Session
	ep      *endpoint
	head    []byte // copy of the request
	client  netip.AddrPort
	proxied bool
	tls     *tls.ConnectionState
	held    int // bytes that srv.memory counts
	ctx     context.Context
	cancel  context.CancelFunc
	job     atomic.Pointer[limit.Job]

	mu    sync.Mutex // held while hooks run; first in the lock order, see doc.go
	early []byte     // bytes that followed the request. guarded by mu
}

// maxEarly bounds the bytes that a client sends before its handshake is answered. RFC
// 6455 section 4.1 wants it to wait.
const maxEarly = 4 << 10

// bySession has values of few sessions, so that Session needs no field for them.
type bySession[V any] struct {
	mu sync.Mutex
	of map[*Session]V // guarded by mu
}

// set adds the value of a session. It returns false if there are most values.
func (b *bySession[V]) set(s *Session, v V, most int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.of) >= most {
		return false
	}
	if b.of == nil {
		b.of = make(map[*Session]V)
	}
	b.of[s] = v
	return true
}

// find returns the value of a session, zero if it has none, and drops it if drop is set.
func (b *bySession[V]) find(s *Session, drop bool) V {
	b.mu.Lock()
	defer b.mu.Unlock()
	v := b.of[s]
	if drop {
		delete(b.of, s)
	}
	return v
}

// identification returns the identification of a session, nil if it has ended.
func (s *Session) identification() *identification {
	if s.state.Load()&identifierBit == 0 {
		return nil
	}
	return s.srv().identifying.find(s, false)
}

// identifyLater hands a request to the Identifier. It returns errIdentifying, or why it
// cannot. accepted is the tick at which the connection was accepted.
func (s *Session) identifyLater(ep *endpoint, r *Request, head, rest []byte, accepted uint32) error {
	if len(rest) > maxEarly {
		return handshake.ErrEarly
	}
	srv := s.srv()
	p := &identification{s: s, ep: ep, client: r.client, proxied: r.proxied, tls: r.tls, held: len(head) + len(rest)}
	if !srv.identifying.set(s, p, srv.cfg.Identifiers+srv.cfg.IdentifierQueue) {
		srv.stats.IdentifyFull.Add(1)
		return handshake.ErrIdentifyFull
	}
	if !srv.memory.Hold(0, p.held, limit.ForRequest()) {
		srv.memory.Hold(p.held, 0, limit.ForRequest())
		srv.identifying.find(s, true)
		srv.stats.ShortOfMemory.Add(1)
		return handshake.ErrNoMemory
	}
	b := append(append(make([]byte, 0, p.held), head...), rest...)
	p.head, p.early = b[:len(head):len(head)], b[len(head):]
	left := max(time.Duration(accepted)*tick+srv.live().HandshakeTimeout-srv.now(), tick)
	p.ctx, p.cancel = context.WithTimeout(srv.quit, left)
	s.state.Or(identifierBit)
	if !s.enter(identifying, 0) {
		p.end()
		return ErrClosed
	}
	s.arm(left) // the timer of accept may have fired when the request was just complete
	p.job.Store(srv.identifiers.Go(p.run))
	return errIdentifying
}

// run identifies the client, on a goroutine of the pool.
func (p *identification) run() {
	h := handshakeBuffers.Get().(*handshakeBuffer)
	defer h.free()
	defer p.recovered()
	r := &h.req
	if p.ctx.Err() == nil {
		r.head.Parse(p.head) // it was parsed before, without an error
		r.session, r.client, r.proxied, r.tls = p.s, p.client, p.proxied, p.tls
		r.mayBlock = true
		id, err := p.ep.identify(p.ctx, r)
		p.cancel()
		p.finish(h, id, err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end()
}

// finish opens the session, or rejects the handshake, unless that was rejected meanwhile
// or the client has left.
func (p *identification) finish(h *handshakeBuffer, id Identity, err error) {
	s := p.s
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.end()
	if !s.enter(admitting, 0) {
		return
	}
	if err == nil && p.s.srv().status.Load() >= draining {
		err = handshake.ErrGoingAway
	}
	if err == nil {
		err = s.admitAs(p.ep, h, id)
	}
	if err != nil {
		s.reject(err, &h.req)
		return
	}
	for len(p.early) > 0 {
		p.early = p.early[s.process(p.early, s.heard.Load()):]
		s.conn.Uncork()
	}
}

// recovered is deferred around run. A panic outside of the Identifier and the hooks, which
// recover by themselves, costs the session: the client gets 500, or 1011 if the session is
// open.
func (p *identification) recovered() {
	v := recover()
	if v == nil {
		return
	}
	s := p.s
	s.srv().panicked("identification", v, "endpoint", p.ep.Path)
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.identification() == p { // finish ends p by itself, unless end panicked
		p.end()
	}
	switch {
	case s.phase() >= open:
		s.end(StatusInternalError, "", true)
	case s.conn.Queued() == 0:
		s.reject(handshake.ErrInternal, nil)
	default: // the answer 101 is corked
		s.conn.Close()
	}
	s.conn.Uncork()
}

// end gives the session back to the read turn. The caller holds mu, or nothing was
// started.
func (p *identification) end() {
	srv := p.s.srv()
	p.cancel()
	p.s.state.And(^uint32(identifierBit))
	srv.identifying.find(p.s, true)
	srv.memory.Hold(p.held, 0, limit.ForRequest())
}

// early keeps bytes that arrive during identification. It returns false if identification
// has ended.
func (s *Session) early(b []byte) bool {
	p := s.identification()
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case s.state.Load()&identifierBit == 0:
		return false
	case s.phase() >= lingering:
		s.discard(len(b))
	case len(p.early)+len(b) > maxEarly:
		s.reject(handshake.ErrEarly, nil)
		p.cancel()
	default:
		p.early = append(p.early, b...)
	}
	return true
}

// cancelIdentification is for a session that was rejected or has ended: the Identifier's
// context ends, and if it waits for a place it never runs.
func (s *Session) cancelIdentification() (p *identification) {
	if p = s.identification(); p == nil {
		return nil
	}
	p.cancel()
	if job := p.job.Load(); job != nil && job.Cancel() {
		p.mu.Lock()
		p.end()
		p.mu.Unlock()
	}
	return p
}

// enterEnded moves the session to its last phase, and returns the one before. If the
// session is just opening elsewhere, it waits for that: Close is the handler's last call.
func (s *Session) enterEnded(code Code) (was phase) {
	if p := s.cancelIdentification(); p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
	}
	was = s.phase()
	s.enter(ended, code)
	return was
}

// Tickets issues resume tickets, see package ticket. Methods are called in read turns, and
// must not block.
type Tickets interface {
	// Issue returns a ticket for an identity that was proved at an endpoint with this path;
	// empty: it gets none.
	Issue(path string, id *Identity) string
	// Restore returns the identity that a ticket was issued for; false: it is not valid, or
	// not any more.
	Restore(path, ticket string) (id Identity, ok bool)
}

// Where a client presents its ticket: as "Authorization: Ticket TICKET", which proxies do not
// log and redirects do not carry to other hosts, or, since browsers let pages set no header, as
// ?ticket=TICKET.
const (
	ticketScheme = "Ticket"
	ticketParam  = "ticket"
)

var errTwoTickets = Reject(http.StatusBadRequest, "the request has one ticket in the Authorization field and another in the query parameter ticket: send one of them")

// restore returns the identity that the request's ticket was issued for. A client may ask for
// topics that this identity may subscribe to. ok false: the Identifier decides, as without a
// ticket. The error is for a request that is wrong with or without.
func (ep *endpoint) restore(r *Request) (id Identity, ok bool, err error) {
	if ep.Tickets == nil {
		return id, false, nil
	}
	ticket := r.Query(ticketParam)
	scheme, header, _ := strings.Cut(r.Header("Authorization"), " ")
	switch header = strings.TrimSpace(header); {
	case !strings.EqualFold(scheme, ticketScheme):
	case header != "" && ticket != "" && header != ticket:
		return id, false, errTwoTickets
	case header != "":
		ticket = header
	}
	if ticket == "" {
		return id, false, nil
	}
	if id, ok = ep.callRestore(ticket); !ok {
		return Identity{}, false, nil
	}
	if asked := r.QueryAll("topic"); len(asked) > 0 {
		for _, topic := range asked {
			if !Covers(id.MaySubscribe, topic) {
				return Identity{}, false, nil
			}
		}
		id.Topics = asked
	}
	return id, true, nil
}

// callRestore calls Tickets.Restore. After a panic the Identifier decides.
func (ep *endpoint) callRestore(ticket string) (id Identity, ok bool) {
	defer func() {
		if v := recover(); v != nil {
			ep.srv.panicked("Tickets.Restore", v, "endpoint", ep.Path)
			id, ok = Identity{}, false
		}
	}()
	return ep.Tickets.Restore(ep.Path, ticket)
}

// issueTicket returns a ticket for an identity that the endpoint has accepted; empty: none.
func (ep *endpoint) issueTicket(id *Identity) (ticket string) {
	if ep.Tickets == nil || id.User == "" {
		return ""
	}
	defer func() {
		if v := recover(); v != nil {
			ep.srv.panicked("Tickets.Issue", v, "endpoint", ep.Path)
			ticket = ""
		}
	}()
	own := *id // escapes, and without Tickets nothing does
	return ep.Tickets.Issue(ep.Path, &own)
}

// prepareTicket makes the ticket for hello, where the identity is at hand.
func (s *Session) prepareTicket(id *Identity) {
	ep := s.endpoint()
	if ep.Tickets == nil || s.dialect() != V1() {
		return
	}
	if ticket := ep.issueTicket(id); ticket != "" {
		s.srv().tickets.set(s, ticket, math.MaxInt)
	}
}

// takeTicket returns the ticket for hello, once; empty: none.
func (s *Session) takeTicket() string {
	if s.endpoint().Tickets == nil {
		return ""
	}
	return s.srv().tickets.find(s, true)
}

// useTicket notes that the query parameter has an effect, for a request whose ticket is not
// valid.
func (ep *endpoint) useTicket(r *Request) {
	if ep.Tickets != nil {
		r.query.Use(ticketParam)
	}
}

// checkTickets returns an error if tickets mean nothing at the endpoint.
func (ep *Endpoint) checkTickets() error {
	switch {
	case ep.Tickets == nil:
		return nil
	case ep.Identifier == nil || ep.Insecure:
		return field.Errorf("Tickets", "needs an Identifier that proves who a client is")
	case strings.HasSuffix(ep.Path, "/*"):
		return field.Errorf("Tickets", "needs a path without *: a ticket is for one path")
	}
	return nil
}
