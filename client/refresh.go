package client

import (
	"context"
	"math/rand/v2"
	"time"
)

// refreshAfter returns when to refresh a session that expires in so many seconds: late
// enough to make good use of a token, and at random, so that the sessions of a restarted
// server do not ask for tokens at once.
func refreshAfter(seconds int64) time.Duration {
	const longest = 30 * 24 * 3600 // hello tells a reconnected session again
	left := time.Duration(min(seconds, longest)) * time.Second
	return left*3/4 + rand.N(left*3/20+1)
}

// renew plans the next refresh of a session whose token expires in so many seconds; 0: it
// does not expire, or the server takes no other token. The reader alone calls it.
func (s *session) renew(seconds int64) {
	if s.refresh != nil {
		s.refresh()
		s.refresh = nil
	}
	if seconds <= 0 || s.c.cfg.Token == nil {
		return
	}
	ctx, cancel := context.WithCancel(s.ctx)
	s.refresh = cancel
	s.c.tasks.Go(func() {
		if sleep(ctx, refreshAfter(seconds), nil) != nil {
			return
		}
		token, err := s.c.cfg.Token(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil: // the session ends with 3000, and Run reconnects
			s.c.cfg.Error(&TokenError{err})
		default:
			s.send(command{Type: "refresh", Token: token})
		}
	})
}
