package server

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"fanfare/frame"
	"fanfare/netpoll"
	"fanfare/server/internal/drain"
	"fanfare/server/internal/handshake"
	"fanfare/server/stats"
)

// Code is a close code, RFC 6455 section 7.4.
type Code = frame.StatusCode

// The close codes that servers and clients send, RFC 6455 section 7.4.1 and the registry
// of IANA. An application may use 4000 to 4999 for its own.
const (
	StatusNormalClosure           = frame.StatusNormalClosure           // 1000
	StatusGoingAway               = frame.StatusGoingAway               // 1001
	StatusProtocolError           = frame.StatusProtocolError           // 1002
	StatusUnsupportedData         = frame.StatusUnsupportedData         // 1003
	StatusInvalidFramePayloadData = frame.StatusInvalidFramePayloadData // 1007
	StatusPolicyViolation         = frame.StatusPolicyViolation         // 1008
	StatusMessageTooBig           = frame.StatusMessageTooBig           // 1009
	StatusInternalError           = frame.StatusInternalError           // 1011
	StatusServiceRestart          = frame.StatusServiceRestart          // 1012
	StatusTryAgainLater           = frame.StatusTryAgainLater           // 1013
	StatusUnauthorized            = frame.StatusUnauthorized            // 3000
	StatusForbidden               = frame.StatusForbidden               // 3003

	// Hooks.OnClose may get these two, which no close frame carries.
	StatusNoStatusRcvd    = frame.StatusNoStatusRcvd    // 1005: the close frame had no code
	StatusAbnormalClosure = frame.StatusAbnormalClosure // 1006: the connection ended without a close frame
)

// CloseError is how a session ended: "close 1008: too much at once".
type CloseError = frame.CloseError

// MaxCloseReason is the room for a reason in a close frame, in bytes, RFC 6455
// sections 5.5 and 5.5.1.
const MaxCloseReason = frame.MaxReason

// Close starts the closing handshake, RFC 6455 section 7.1.2: what is queued is
// sent, then a close frame with the code and reason (cut to 123 bytes), and the
// connection ends when the client has answered or Config.CloseTimeout has passed.
// A code that must not be sent, see frame.CloseCodeAllowed, is sent as none.
// Hooks.OnClose gets code and reason as they were passed. Close returns false if the
// session was closing already.
func (s *Session) Close(code Code, reason string) bool {
	if !frame.CloseCodeAllowed(code) {
		code = frame.StatusNoStatusRcvd
	}
	return s.end(code, reason, false)
}

// end is Close; with discard the queued messages are dropped first.
func (s *Session) end(code Code, reason string, discard bool) bool {
	if !discard && s.state.Load()&holdBit != 0 {
		s.srv().replay.Flush(receiver{s})
	}
	next, then := closing, netpoll.KeepOpen
	if s.stream() { // its client does not answer
		next, then = lingering, netpoll.HalfClose
	}
	if !s.leaveOpen(next, code, reason) {
		return false
	}
	if discard {
		if r := s.srv().replay; r != nil {
			// First, so that no pong to a ping that is written from here on
			// acknowledges a message that is dropped.
			r.Discard(receiver{s})
		}
		s.conn.DropMessages() // not the answer to the handshake, which may be queued too
		s.dropRated()
	} else {
		s.flushRated()
	}
	s.seal(s.goodbye(code, reason), false, then)
	return true
}

// leaveOpen enters a phase in which messages are not sent any more. It notes the reason if
// code is the one that is noted, see enterFirst.
func (s *Session) leaveOpen(next phase, code Code, reason string) bool {
	if reason == "" || s.endpoint().Hooks.OnClose == nil && s.srv().events == nil && !s.srv().traces.Running() {
		if !s.enter(next, code) {
			return false
		}
	} else {
		x := s.extend()
		x.mu.Lock() // ended waits for it, and so for the reason
		ok, first := s.enterFirst(next, code)
		if ok && first {
			x.reason = reason
		}
		x.mu.Unlock()
		if !ok {
			return false
		}
	}
	s.touch()
	s.cancelContext()
	return true
}

// seal sends the last bytes, see netpoll.Conn.Seal, after the deadline for the rest of
// the connection is set: a client that has read them may count on it.
func (s *Session) seal(last []byte, discard bool, then netpoll.Ending) {
	s.arm(s.srv().live().CloseTimeout)
	s.conn.Seal(last, discard, then)
}

// fail ends a connection whose peer broke the protocol, RFC 6455 section 7.1.7.
func (s *Session) fail(err error) {
	ce, ok := err.(*frame.CloseError)
	if !ok {
		panic("BUG: server: the decoder returned " + err.Error())
	}
	if s.leaveOpen(lingering, ce.Code, ce.Reason) {
		s.seal(s.goodbye(ce.Code, ce.Reason), false, netpoll.HalfClose)
	}
}

// peerClosed answers the peer's close frame, RFC 6455 section 5.5.1, or notes that the
// peer has answered ours. Either way it is the server that ends the stream, section
// 7.1.1.
func (s *Session) peerClosed(payload []byte) {
	code, reason, err := frame.ParseClose(payload)
	if err != nil {
		s.fail(err)
		return
	}
	if s.leaveOpen(lingering, code, reason) {
		s.state.Or(clientCodeBit)
		answer := code
		if code == frame.StatusNoStatusRcvd {
			answer = 0 // there was none, section 7.1.5
		}
		s.seal(frame.AppendClose(nil, answer, ""), false, netpoll.CloseFlushed)
	}
}

// released is called before the descriptor of the connection is released, and keeps the
// client's address for OnClose. Sessions without that hook pay nothing for it.
func (s *Session) released() {
	switch p := s.phase(); {
	case p == identifying || p == admitting:
		// The session may still open, on another goroutine.
	case p < open || s.opened == 0 || s.endpoint().Hooks.OnClose == nil:
		return
	}
	if peer := s.RemoteAddr(); peer.IsValid() {
		s.setClient(peer)
	}
}

// ended is called when the connection is over, last of all.
func (s *Session) ended() {
	srv := s.srv()
	was := s.enterEnded(frame.StatusAbnormalClosure)
	s.cancelContext()
	srv.wheel.Stop(s)
	s.dropRated()
	s.releaseDecoder()
	x := s.ext.Load()
	if x != nil {
		srv.appTimers.Stop(x)
		if x.over != nil {
			close(x.over)
		}
		s.dropGathering(x)
	}
	srv.uncount(s)
	s.takeTicket() // hello was not sent
	if s.opened == 0 {
		if was <= readingRequest { // it never became a session
			srv.stats.Aborted.Add(1)
		}
		return
	}
	srv.keeping.forget(s)
	why := CloseError{Code: s.closeCode()}
	if x != nil {
		x.mu.Lock()
		why.Reason = x.reason
		x.mu.Unlock()
	}
	srv.events.closed(s, why)
	s.traceClosed(why)
	for _, topic := range srv.leave(s) {
		s.topicChanged(topic, false)
	}
	srv.sessions.Add(-1)
	if srv.replay != nil {
		s.replayDetach()
	}
	srv.stats.Close(why.Code)
	if hook := s.endpoint().Hooks.OnClose; hook != nil {
		s.guard(func() { hook(s, why) })
	}
}

// Context returns a context that is canceled when the session begins to close or its
// connection ends. A session for which it is not called pays nothing for it.
func (s *Session) Context() context.Context {
	x := s.extend()
	x.mu.Lock()
	if x.ctx == nil {
		x.ctx, x.cancel = context.WithCancel(context.Background())
	}
	ctx := x.ctx
	x.mu.Unlock()
	if s.phase() >= closing {
		s.cancelContext() // the close may have found no context
	}
	return ctx
}

func (s *Session) cancelContext() {
	x := s.ext.Load()
	if x == nil {
		return
	}
	x.mu.Lock()
	cancel := x.cancel
	x.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// Status is the phase of a Server's life.
type Status = stats.Status

// The phases, in order.
const (
	Starting = stats.Starting // New has returned
	Serving  = stats.Serving  // connections are accepted
	Leaving  = stats.Leaving  // Drain was called; connections are accepted for Config.DrainDelay
	Draining = stats.Draining // sessions are being closed
	Stopped  = stats.Stopped  // Shutdown has returned
)

// endGrace is how long Shutdown waits for running hooks after its context is done.
const endGrace = time.Second

// Status returns the present phase.
func (srv *Server) Status() Status { return Status(srv.status.Load()) }

// Drain closes the sessions in order:
//
//  1. Status is Leaving for Config.DrainDelay: everything works, and load balancers find
//     out that they should connect elsewhere;
//  2. Status is Draining, the public listener closes, and paced broadcasts end where they
//     are: sessions that have not received them connect to another node;
//  3. sessions are closed with 1001 at Config.DrainRate, each after what is queued for
//     it; handshakes that are not complete are answered 503.
//
// It returns when all connections have ended, or with an error when ctx is done. The
// server can still push, so that an HTTP API ends between Drain and Shutdown.
func (srv *Server) Drain(ctx context.Context) error {
	if srv.live().DrainDelay > 0 && srv.status.CompareAndSwap(serving, leaving) {
		delay := time.NewTimer(srv.live().DrainDelay)
		select {
		case <-delay.C:
		case <-ctx.Done():
			delay.Stop()
		}
	}
	if srv.startDraining() {
		srv.engine.StopAccepting()
		srv.paced.Stop()
	}
	srv.drain(ctx)
	if left := srv.connections.Load(); left > 0 {
		return fmt.Errorf("server: %d connections did not close in time", left)
	}
	return nil
}

// DrainNow is Drain without Config.DrainDelay.
func (srv *Server) DrainNow(ctx context.Context) error {
	srv.status.CompareAndSwap(serving, leaving)
	return srv.Drain(ctx)
}

// Shutdown is Drain, if that was not called, and then ends the server: connections that
// are left are closed, and engine, replay and timers stop, in this order. Config.Store
// may be closed when it has returned.
//
// It returns an error if connections had to be closed early. If a hook does not return,
// Shutdown returns with an error a second after ctx is done, at the latest. Further calls
// wait for the first one, or for their own ctx.
func (srv *Server) Shutdown(ctx context.Context) error {
	if !srv.ending.CompareAndSwap(false, true) {
		select {
		case <-srv.ended:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("server: shutdown: %w", ctx.Err())
		}
	}
	err := srv.Drain(ctx)
	srv.awaitUpstream(ctx)
	go srv.end()
	select {
	case <-srv.ended:
	case <-ctx.Done():
		select {
		case <-srv.ended:
		case <-time.After(endGrace):
			return fmt.Errorf("server: hooks do not return: %w", ctx.Err())
		}
	}
	return err
}

// startDraining reports false if the server is draining already, or has ended.
func (srv *Server) startDraining() bool {
	for {
		was := srv.status.Load()
		if was >= draining {
			return false
		}
		if srv.status.CompareAndSwap(was, draining) {
			if srv.history != nil {
				srv.history.End()
			}
			return true
		}
	}
}

// end stops the parts of the server, each after the parts that need it.
func (srv *Server) end() {
	srv.members.End()
	srv.engine.Close()
	if srv.replay != nil {
		srv.replay.Stop()
	}
	srv.stop()
	srv.closeLink()
	srv.background.Wait()
	if srv.cluster != nil {
		srv.cluster.Leave()
	}
	srv.rejectLog.Flush(srv.tick.Load())
	srv.status.Store(stopped)
	close(srv.ended)
}

// drain ends the sessions at Config.DrainRate, and waits until all connections have ended or ctx
// is done.
func (srv *Server) drain(ctx context.Context) {
	drain.Run(ctx, drain.Config[*Session]{
		Now:  srv.now,
		Rate: func() int { return srv.live().DrainRate },
		Open: srv.connections.Load,
		List: srv.closable,
		Close: func(s *Session) {
			switch s.phase() {
			case readingProxyHeader, readingRequest, identifying:
				s.rejectEarly(handshake.ErrGoingAway)
			case open:
				s.Close(srv.leaveCode())
			}
		},
	})
}

// closable returns the sessions that have not begun to close.
func (srv *Server) closable() (all []*Session) {
	srv.engine.Each(func(h netpoll.Handler) {
		if h, ok := h.(handler); ok && h.s.phase() < closing {
			all = append(all, h.s)
		}
	})
	return all
}

// leaveCode returns the code with which Shutdown closes sessions, and the reason, which names the
// seconds within which the client is to connect again, so that not all clients do at once.
func (srv *Server) leaveCode() (Code, string) {
	code, reason := frame.StatusGoingAway, "server is going away"
	if srv.handing.Load() {
		code, reason = frame.StatusServiceRestart, "service restart"
	}
	spread := (srv.live().DrainSpread + time.Second - 1) / time.Second
	return code, reason + "; retry=" + strconv.Itoa(int(spread))
}
