package server

import (
	"runtime/debug"

	"fanfare/frame"
)

// Hooks are the application of an endpoint. All are optional. Those of one
// session never overlap, except OnTimer. A hook may block: others are served
// meanwhile, up to the bound on workers. A panic ends that session with 1011
// and is logged with its stack.
type Hooks struct {
	// OnOpen is the first call for a session, when the handshake is done.
	OnOpen func(s *Session)
	// OnMessage is called for each text or binary message. payload is borrowed
	// until it returns, and may be modified.
	OnMessage func(s *Session, op Op, payload []byte)
	// OnTimer is called when the time of Session.SetTimer has come. Those of all
	// sessions are called one after another by one goroutine.
	OnTimer func(s *Session)
	// OnClose is the last call for a session that was open. It tells who ended it
	// first: code and reason are those of Session.Close, of the client's close frame,
	// or of the rule that the client broke. The code is 1006 when the connection broke,
	// and 1005 when the close frame had none. RFC 6455, 7.1.5 means something else by
	// the close code of a connection: that of the first close frame received.
	OnClose func(s *Session, why CloseError)
}

// CloseError is how a session ended.
type CloseError = frame.CloseError

// guard runs a hook.
func (s *Session) guard(hook func()) {
	defer s.recovered()
	hook()
}

func (s *Session) recovered() {
	if v := recover(); v != nil {
		s.srv().panicked("hook", v, "endpoint", s.endpoint().Path, "user", s.User())
		s.end(frame.StatusInternalError, "", true)
	}
}

// panicked logs and counts a panic that was recovered; where says what ran.
func (srv *Server) panicked(where string, v any, attrs ...any) {
	srv.log.Error("panic recovered", append([]any{"where", where, "panic", v, "stack", string(debug.Stack())}, attrs...)...)
	srv.stats.panics.Add(1) // last: a reader of the counter finds it in the log
}

// receive hands a message to the dialect, without a closure because it is the hot
// path.
func (s *Session) receive(d Dialect, op Op, payload []byte) {
	defer s.recovered()
	d.Receive(s, op, payload)
}
