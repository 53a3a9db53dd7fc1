package netpoll

import (
	"net"
	"testing"
)

// lateConn has no descriptor. Each Write but the last returns only when the answer to the
// peer's next message has been written: the peer was quicker than the goroutine that writes.
type lateConn struct {
	net.Conn
	writes   int // that are left
	answered chan struct{}
}

func (c *lateConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if c.writes--; c.writes > 0 {
		<-c.answered
	}
	return n, err
}

// The peer of an echo never has more than one message under way, so it is not slow, however
// long its messages are.
func TestAnswerWhileWriting(t *testing.T) {
	const queueBytes, rounds = 1 << 10, 8
	client, server := accepted(t, "tcp")
	late := &lateConn{server, rounds, make(chan struct{}, rounds)}
	message := make([]byte, 2*queueBytes)
	got := 0
	s := newSession(t, func(s *session, b []byte) {
		if got += len(b); got%len(message) > 0 {
			return
		}
		if out := s.Write(message, CloseOnFull); out != Queued {
			t.Errorf("answer %d: Write = %v", got/len(message), out)
		}
		if got > len(message) {
			late.answered <- struct{}{}
		}
	})
	if err := newEngine(t, Config{QueueBytes: queueBytes}).Adopt(late, &s.Conn, s, nil); err != nil {
		t.Fatal(err)
	}
	for range rounds {
		must(t, client, string(message))
		expect(t, client, string(message))
	}
}
