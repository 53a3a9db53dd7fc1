package server

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
