package server

import (
	"errors"
	"fmt"

	"fanfare/frame"
	"fanfare/netpoll"
)

// Errors of Session.Send, SendMessage and Reply.
var (
	// ErrClosed: the session is closed or closing.
	ErrClosed = errors.New("server: session is closed")
	// ErrSlow: the client does not read, and the session's outbound queue is full. It
	// is one of the two that follow.
	ErrSlow = errors.New("server: outbound queue is full")
	// ErrSlowClosing is ErrSlow where the session is being closed with 1013 for it.
	ErrSlowClosing = fmt.Errorf("%w: session is being closed", ErrSlow)
	// ErrSlowDropped is ErrSlow where only the message was dropped.
	ErrSlowDropped = fmt.Errorf("%w: message dropped", ErrSlow)
)

// WhenFull is a policy for a full outbound queue.
type WhenFull uint8

const (
	// FullDefault is FullClose for user pushes and FullDropOldest for topics
	// and broadcasts.
	FullDefault WhenFull = iota
	// FullClose ends the slow connection with 1013.
	FullClose
	// FullDropOldest drops the oldest messages that may be dropped.
	FullDropOldest
)

// ParseWhenFull reads "close" or "drop-oldest", for programs that take the policy from a flag
// or a file.
func ParseWhenFull(s string) (WhenFull, error) {
	switch s {
	case "close":
		return FullClose, nil
	case "drop-oldest":
		return FullDropOldest, nil
	}
	return 0, fmt.Errorf("unknown policy %q: want close or drop-oldest", s)
}

func (w WhenFull) policy(def netpoll.Policy) netpoll.Policy {
	switch w {
	case FullClose:
		return netpoll.CloseOnFull
	case FullDropOldest:
		return netpoll.DropOldest
	}
	return def
}

func (srv *Server) userPolicy() netpoll.Policy {
	return srv.live().UserFull.policy(netpoll.CloseOnFull)
}

func (srv *Server) topicPolicy() netpoll.Policy {
	return srv.live().TopicFull.policy(netpoll.DropOldest)
}

// outcome turns the outcome of a write into an error. The policy was applied by queue.makeRoom in
// netpoll/queue.go; outcome closes the session if its queue is full and the policy does not
// allow to drop.
func (s *Session) outcome(o netpoll.Outcome) error {
	switch o {
	case netpoll.Written, netpoll.Queued:
		return nil
	case netpoll.Full:
		srv, queued := s.srv(), s.Queued()
		srv.stats.slow.Add(1)
		if s.end(frame.StatusTryAgainLater, "too slow", true) {
			srv.events.slow(s, queued)
		}
		return ErrSlowClosing
	case netpoll.Dropped:
		return ErrSlowDropped
	}
	return ErrClosed
}
