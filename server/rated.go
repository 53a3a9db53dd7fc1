package server

import (
	"fanfare/frame"
	"fanfare/netpoll"
	"fanfare/server/internal/conflate"
)

// This file has messages with MessageOptions.Interval. What waits for its time is sent when a
// session is closed, and when it moves to another process, which then knows nothing of it. It
// is dropped when the client closes, or its queue is full and that closes the session.

type ratedTable = conflate.Table[*Session, liveFrame]

func newRated(srv *Server) *ratedTable {
	return conflate.NewTable(conflate.Config[*Session, liveFrame]{
		Write: func(s *Session, f liveFrame) netpoll.Outcome {
			b := s.encoded(f.m)
			if b == nil {
				return netpoll.Dropped // the panic has been logged
			}
			return s.put(f.m.options, b, f.policy)
		},
		Failed: (*Session).ratedFailed,
		Open:   func(s *Session) bool { return s.phase() == open && s.conn.CanWrite() },
		Hash:   (*Session).ID,
		Size:   func(f liveFrame) int { return frame.HeaderSize(f.m.Len()) + f.m.Len() },
		Budget: srv.cfg.QueueBytes,
	}, tick, wheelSlots)
}

// stepRated has a goroutine send the messages whose time has come. It is called every tick, and
// does nothing unless there are sessions that have received such messages of late.
func (srv *Server) stepRated() {
	if srv.rated.Len() > 0 && srv.stepping.CompareAndSwap(false, true) {
		srv.background.Go(srv.sendRated)
	}
}

func (srv *Server) sendRated() {
	defer srv.stepping.Store(false)
	defer func() {
		if v := recover(); v != nil {
			srv.panicked("messages with an interval", v)
		}
	}()
	srv.moving.RLock() // sessions do not move meanwhile
	defer srv.moving.RUnlock()
	srv.rated.Step(srv.now())
}

// ratedFailed closes the session if its queue was full, as outcome does, and counts a message
// that came after the end of the session.
func (s *Session) ratedFailed(o netpoll.Outcome) {
	if o == netpoll.Gone {
		s.srv().stats.RatedDropped.Add(1)
		return
	}
	s.outcome(o)
}

// flushRated sends what waits.
func (s *Session) flushRated() netpoll.Outcome {
	lost, o := s.srv().rated.Flush(s)
	if lost > 0 {
		s.srv().stats.RatedDropped.Add(int64(lost))
	}
	return o
}

// dropRated gives up what waits.
func (s *Session) dropRated() {
	srv := s.srv()
	if lost := srv.rated.Drop(s); lost > 0 {
		srv.stats.RatedDropped.Add(int64(lost))
	}
}
