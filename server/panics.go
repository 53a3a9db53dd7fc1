package server

import (
	"context"
	"fmt"
	"runtime/debug"

	"fanfare/frame"
)

// This file has the recovers around code that is not the server's: hooks, dialects and the
// cluster; package guard has those around the store. A panic there is logged with its stack
// and counted, and ends at most the session or the call that it happened for.

// panicked logs and counts a panic that was recovered; where says what ran.
func (srv *Server) panicked(where string, v any, attrs ...any) {
	srv.log.Error("panic recovered", append([]any{"where", where, "panic", v, "stack", string(debug.Stack())}, attrs...)...)
	srv.stats.panics.Add(1) // last: a reader of the counter finds it in the log
}

// guard runs a hook. A panic ends the session with 1011.
func (s *Session) guard(hook func()) {
	defer s.recovered("hook")
	hook()
}

// recovered is deferred around calls whose panic ends the session with 1011.
func (s *Session) recovered(where string) {
	if v := recover(); v != nil {
		s.srv().panicked(where, v, "endpoint", s.endpoint().Path, "user", s.User())
		s.end(frame.StatusInternalError, "", true)
	}
}

// receive hands a message to the dialect, without a closure because it is the hot
// path.
func (s *Session) receive(d Dialect, op Op, payload []byte) {
	defer s.recovered("Dialect.Receive or OnMessage")
	d.Receive(s, op, payload)
}

// callBegin calls Dialect.Begin.
func (s *Session) callBegin(p Position) {
	defer s.recovered("Dialect.Begin")
	s.dialect().Begin(s, p)
}

// logPanic is deferred around calls whose panic the session survives: the caller has set
// a result that stands in.
func (s *Session) logPanic(where string) {
	if v := recover(); v != nil {
		s.srv().panicked(where, v, "endpoint", s.endpoint().Path, "user", s.User())
	}
}

// goodbye calls Dialect.Goodbye. Its substitute is a close frame, or nothing for a Stream.
func (s *Session) goodbye(code Code, reason string) (b []byte) {
	defer func() {
		if v := recover(); v != nil {
			s.srv().panicked("Dialect.Goodbye", v, "endpoint", s.endpoint().Path, "user", s.User())
			if !s.stream() {
				b = WebSocket{}.Goodbye(code, reason)
			}
		}
	}()
	return s.dialect().Goodbye(code, reason)
}

// heartbeatFrame calls Dialect.Heartbeat. Its substitute is an empty ping, or nothing for a
// Stream.
func (s *Session) heartbeatFrame() (b []byte) {
	if !s.stream() {
		b = pingFrame
	}
	defer s.logPanic("Dialect.Heartbeat")
	return s.dialect().Heartbeat()
}

// pingFrame calls Dialect.Ping. It returns nil after a panic.
func (s *Session) pingFrame(payload []byte) (b []byte) {
	defer s.logPanic("Dialect.Ping")
	return s.dialect().Ping(payload)
}

// ackMode calls Dialect.Acks. Its substitute is AckNone.
func (s *Session) ackMode() (mode AckMode) {
	mode = AckNone
	defer s.logPanic("Dialect.Acks")
	return s.dialect().Acks()
}

// encode calls Dialect.Encode for a message that any number of sessions share. A panic
// costs the sessions that speak the dialect this message.
func (srv *Server) encode(d Dialect, c Content) (p *frame.Prepared) {
	defer func() {
		if v := recover(); v != nil {
			srv.panicked("Dialect.Encode", v, "protocol", d.Protocol())
		}
	}()
	return d.Encode(c)
}

// encodeStored calls Dialect.Encode for a stored message. It returns nil for a panic;
// package replay decides whether the message is tried again.
func (s *Session) encodeStored(c Content) (p *frame.Prepared) {
	defer s.logPanic("Dialect.Encode")
	return s.dialect().Encode(c)
}

// guardedCluster is a Cluster whose panics are recovered. Most calls are made by read
// turns and by goroutines that nothing else would protect.
type guardedCluster struct {
	Cluster
	srv *Server
}

// recovered is deferred around a call; err, if not nil, is set to what the call returns.
func (g guardedCluster) recovered(method string, err *error) {
	if v := recover(); v != nil {
		g.srv.panicked("Cluster."+method, v)
		if err != nil {
			*err = fmt.Errorf("%w: panic in Cluster.%s: %v", ErrUnreachable, method, v)
		}
	}
}

func (g guardedCluster) Join(n Node) (err error) {
	defer g.recovered("Join", &err)
	return g.Cluster.Join(n)
}

func (g guardedCluster) Hold(t Target) {
	defer g.recovered("Hold", nil)
	g.Cluster.Hold(t)
}

func (g guardedCluster) Release(t Target) {
	defer g.recovered("Release", nil)
	g.Cluster.Release(t)
}

func (g guardedCluster) Sync(ctx context.Context, t Target) (err error) {
	defer g.recovered("Sync", &err)
	return g.Cluster.Sync(ctx, t)
}

func (g guardedCluster) Check(c *Command) (err error) {
	defer g.recovered("Check", &err)
	return g.Cluster.Check(c)
}

func (g guardedCluster) Ask(ctx context.Context, t Target, c *Command) (a Answer, err error) {
	defer g.recovered("Ask", &err)
	return g.Cluster.Ask(ctx, t, c)
}

func (g guardedCluster) Shared(t Target) (shared bool) {
	shared = true
	defer g.recovered("Shared", nil)
	return g.Cluster.Shared(t)
}

func (g guardedCluster) Name() (name string) {
	defer g.recovered("Name", nil)
	return g.Cluster.Name()
}

func (g guardedCluster) Nodes() (n int) {
	n = 1
	defer g.recovered("Nodes", nil)
	return g.Cluster.Nodes()
}

func (g guardedCluster) Ready() (err error) {
	defer g.recovered("Ready", &err)
	return g.Cluster.Ready()
}

func (g guardedCluster) Leave() {
	defer g.recovered("Leave", nil)
	g.Cluster.Leave()
}
