package frame

import "github.com/gobwas/ws"

// Message is what a peer sent: a whole text or binary message, or one control
// frame. The zero Message, with Op 0 (ws.OpContinuation), means that nothing is
// complete yet.
type Message struct {
	Op ws.OpCode // OpText, OpBinary, OpPing, OpPong, OpClose, or 0

	// Payload is borrowed until the next call of Next or Release. That of a
	// close frame is valid: empty, or what ParseClose takes without an error.
	Payload []byte
}
