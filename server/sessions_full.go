package server

import (
	"fmt"

	"fanfare/frame"
	"fanfare/netpoll"
)

// SessionsFull is what happens to a user's next session when the user has
// Config.SessionsPerUser of them.
type SessionsFull uint8

const (
	// SessionsReject rejects the handshake with 429. The sessions that the user has
	// are pinged, so that the place of one whose client is gone becomes free after
	// Config.PingTimeout.
	SessionsReject SessionsFull = iota
	// SessionsCloseOldest closes the user's oldest session with 1008.
	SessionsCloseOldest
)

// ParseSessionsFull reads "reject" or "close-oldest".
func ParseSessionsFull(s string) (SessionsFull, error) {
	switch s {
	case "reject":
		return SessionsReject, nil
	case "close-oldest":
		return SessionsCloseOldest, nil
	}
	return 0, fmt.Errorf("unknown policy %q: want reject or close-oldest", s)
}

// makeRoom enters s in the registry for a user that has too many sessions, as
// Config.SessionsFull says. It reports false if there is no room.
func (srv *Server) makeRoom(user string, s *Session) bool {
	var buf [16]*Session
	others := srv.users.AppendUser(buf[:0], user)
	if srv.cfg.SessionsFull != SessionsCloseOldest {
		for _, other := range others {
			other.probe()
		}
		return false
	}
	// Others of the user may come at the same time and take the place, but each of them
	// closes a session that is older than its own.
	for range len(others) + 1 {
		if !srv.closeOldest(others) {
			return false
		}
		if srv.users.Join(user, s) == nil {
			return true
		}
		others = srv.users.AppendUser(others[:0], user)
	}
	return false
}

// closeOldest frees the place of the oldest session at once, and closes it.
func (srv *Server) closeOldest(sessions []*Session) bool {
	var oldest *Session
	for _, s := range sessions {
		if s.phase() == open && (oldest == nil || s.opened < oldest.opened || s.opened == oldest.opened && s.ID() < oldest.ID()) {
			oldest = s
		}
	}
	if oldest == nil {
		return false
	}
	if srv.users.Leave(oldest) {
		srv.releaseUser(oldest.User())
	}
	oldest.end(frame.StatusPolicyViolation, "replaced by a newer session of the user", true)
	return true
}

// probe pings a session that has been silent, out of turn, so that a missed heartbeat is
// found after Config.PingTimeout.
func (s *Session) probe() {
	srv := s.srv()
	now, heard, pinged := srv.tick.Load(), s.heard.Load(), s.pinged.Load()
	if s.phase() != open || now == heard || pinged > heard || !s.pinged.CompareAndSwap(pinged, now) {
		return
	}
	srv.stats.pings.Add(1)
	s.outcome(s.conn.Write(s.heartbeatFrame(), netpoll.Control))
	s.armHeartbeat(ticks(srv.cfg.PingTimeout))
}
