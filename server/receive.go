package server

import (
	"slices"
	"time"

	"github.com/gobwas/ws"

	"fanfare/frame"
	"fanfare/netpoll"
	"fanfare/server/internal/limit"
)

// handler makes a session the handler of its connection. It is a type of its own
// because Session has methods Data and Close for the application.
type handler struct{ s *Session }

func (h handler) Open(*netpoll.Conn)                 { h.s.opening() }
func (h handler) Data(_ *netpoll.Conn, b []byte) int { return h.s.received(b) }

// AtRest is asked only of a server whose sessions are kept.
func (h handler) AtRest() bool {
	return h.s.phase() == open && h.s.dec.Between() && !h.s.hasUpstream()
}

func (h handler) Release(*netpoll.Conn)      { h.s.released() }
func (h handler) Close(*netpoll.Conn, error) { h.s.ended() }

// received processes bytes of the connection, and returns how many it has processed.
func (s *Session) received(b []byte) (n int) {
	n = len(b)
	heard := s.heard.Swap(s.srv().tick.Load())
	state := s.state.Load()
	if state&identifierBit != 0 && s.early(b) {
		return n
	}
	switch phaseOf(state) {
	case readingProxyHeader:
		if b = s.readProxyHeader(b, heard); len(b) == 0 {
			return n
		}
		fallthrough
	case readingRequest:
		if b = s.readRequest(b, heard); len(b) == 0 {
			return n
		}
	}
	return n - len(b) + s.process(b, heard)
}

// process processes bytes that follow the request, and returns how many it has processed.
// heard is the tick at which the bytes before them were received.
func (s *Session) process(b []byte, heard uint32) (n int) {
	switch s.phase() {
	case open, closing:
		if s.stream() {
			s.discard(len(b))
			break
		}
		return len(b) - len(s.feed(b, s.srv().tick.Load(), heard))
	case lingering: // RFC 6455, 7.1.7: bytes that follow a failure are not processed
		s.discard(len(b))
	}
	return len(b)
}

// maxDiscarded is what may be under way from a peer that has not read our last bytes
// yet: the buffers of both ends. A peer that sends more does not mean to stop, and
// reading on costs as much as serving it would.
const maxDiscarded = 1 << 20

// discard counts bytes that are not processed, and closes a connection that sends too many.
func (s *Session) discard(n int) {
	x := s.extend()
	if x.discarded += n; x.discarded > maxDiscarded {
		s.srv().stats.Forced.Add(1)
		s.conn.Close()
	}
}

// feed runs the decoder over the bytes of one read, and returns the bytes that it leaves
// for the next turn. It bounds the memory of unfinished messages.
func (s *Session) feed(in []byte, now, heard uint32) (left []byte) {
	before := s.dec.Pending()
	left = s.decode(in, now, heard)
	after := s.dec.Pending()
	if before == 0 && after == 0 {
		return left
	}
	srv := s.srv()
	if !srv.memory.Hold(before, after, limit.ForMessage()) {
		srv.stats.ShortOfMemory.Add(1)
		s.fail(errShortOfMemory)
	}
	if s.phase() == lingering { // nothing is decoded any more
		s.releaseDecoder()
		return nil
	}
	return left
}

// releaseDecoder discards the bytes of an unfinished message.
func (s *Session) releaseDecoder() {
	if held := s.dec.Pending(); held > 0 {
		s.srv().memory.Hold(held, 0, limit.ForMessage())
	}
	s.dec.Release()
}

// decode decodes until in is consumed, the session ends, or other connections should
// be served first: it returns the bytes that are left then.
func (s *Session) decode(in []byte, now, heard uint32) (left []byte) {
	ep := s.endpoint()
	meter := s.metered(ep, len(in), now, heard)
	var rates limit.Rates
	if meter != nil {
		rates = s.rates(ep)
		if !meter.Read(&rates, len(in), now) {
			s.overRate()
			return nil
		}
	}
	var done work
	for {
		m, n, err := s.dec.Next(&ep.Rules, in)
		in = in[n:]
		if meter != nil {
			meter.Consumed(n)
		}
		if err != nil {
			s.fail(err)
			return nil
		}
		if m.Op != ws.OpContinuation {
			if !s.handle(ep, meter, &rates, m, now, len(in) > 0) {
				return nil
			}
		} else if len(in) == 0 { // nothing complete is left
			return nil
		}
		did := n + len(m.Payload)
		if m.Op == ws.OpContinuation {
			did = checkEvery * stepBytes // Next stops without a message when it has worked
		}
		if len(in) > 0 && done.enough(ep.srv, did) {
			if meter != nil {
				meter.Unread(len(in)) // they are charged when they come again
			}
			return in
		}
	}
}

// work is how much one call of feed has done. A read of 64 KiB may hold anything
// from half a message to what inflates to 64 MiB, so it is not counted in bytes.
type work struct {
	began time.Duration // approximately; 0 before the time is first checked
	steps int           // since the time was checked
}

const (
	// maxWork is how long one connection may keep others waiting: about the time that
	// an echo takes through the kernel, there and back.
	maxWork = 75 * time.Microsecond
	// checkEvery is how many steps of work are done between two checks of the time:
	// one for each message and for each stepBytes of it.
	checkEvery = 8
	stepBytes  = 4 << 10
)

// enough counts work that was done, and reports whether to serve others first.
func (w *work) enough(srv *Server, bytes int) bool {
	if w.steps += 1 + bytes/stepBytes; w.steps < checkEvery && w.began != 0 {
		return false
	}
	now := srv.now()
	if w.began == 0 {
		w.began = now - time.Duration(w.steps)*time.Microsecond
	}
	w.steps = 0
	return now-w.began > maxWork
}

// handle processes one message, and reports whether to go on; more says that bytes of
// this read are left.
func (s *Session) handle(ep *endpoint, meter *limit.Meter, rates *limit.Rates, m frame.Message, now uint32, more bool) bool {
	// Pongs that acknowledge stored messages, or confirm a receipt, are not counted: the
	// server has asked for each of them.
	if m.Op == ws.OpPong && s.ponged(m.Payload) {
		return true
	}
	if meter != nil {
		ok := false
		if m.Op.IsControl() {
			ok = meter.Control(rates, now)
		} else {
			ok = meter.Message(rates, len(m.Payload), now)
		}
		if !ok {
			s.overRate()
			return false
		}
	}
	switch m.Op {
	case ws.OpText, ws.OpBinary:
		if s.phase() != open {
			return true // RFC 6455, 5.5.1: we have sent a close frame
		}
		ep.srv.stats.Received.Add(1)
		if ep.ReportMessages && s.raw() {
			ep.srv.events.received(s, m.Op, m.Payload)
		}
		if ep.Hooks.OnMessage == nil && ep.Respond == nil && s.raw() {
			return true
		}
		if more {
			s.conn.Cork() // answer them in one write
		}
		s.receive(s.dialect(), m.Op, m.Payload)
	case ws.OpPing:
		if more {
			s.conn.Cork()
		}
		s.pong(m.Payload)
	case ws.OpPong:
		// Any byte is a sign of life; this one has no other meaning.
	case ws.OpClose:
		s.peerClosed(m.Payload)
		return false
	}
	return true
}

// pong answers a ping with its payload, RFC 6455 sections 5.5.2 and 5.5.3. After our
// close frame, which seals the connection, it is Gone: see the limitations in doc.go.
func (s *Session) pong(payload []byte) {
	var buf [2 + 125]byte
	s.outcome(s.conn.WriteBorrowed(frame.AppendFrame(buf[:0], ws.OpPong, payload), netpoll.Control))
}

// withRates puts the rates of endpoints into force, and returns the server's endpoints
// with them.
func (srv *Server) withRates(from []Endpoint) []Endpoint {
	rates := make(map[string]*Rate, len(from))
	for i := range from {
		rates[from[i].Path] = &from[i].Rate
		srv.endpoints[from[i].Path].rate.Store(&from[i].Rate)
	}
	all := slices.Clone(srv.cfg.Endpoints)
	for i := range all {
		all[i].Rate = *rates[all[i].Path]
	}
	return all
}
