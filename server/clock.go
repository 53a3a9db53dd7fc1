package server

import (
	"time"

	"github.com/gobwas/ws"

	"fanfare/frame"
	"fanfare/netpoll"
)

// clock is the only goroutine that reads the clock for timers. It moves the
// coarse time that activity is stamped with, and both wheels.
func (srv *Server) clock() {
	defer srv.background.Done()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var due []*extension
	appDue := func(x *extension) { due = append(due, x) }
	for {
		select {
		case <-srv.quit:
			return
		case <-ticker.C:
		}
		now := srv.now()
		srv.tick.Store(max(uint32(now/tick), 1))
		srv.wheel.Advance(now, srv.fire)
		srv.appTimers.Advance(now, appDue)
		if len(due) > 0 {
			select {
			case srv.timers <- due:
				due = nil
			default: // an OnTimer takes long: these come with the next ones
			}
		}
	}
}

// runTimers calls the OnTimer hooks, apart from the clock, because they may take
// long.
func (srv *Server) runTimers() {
	defer srv.background.Done()
	for {
		select {
		case <-srv.quit:
			return
		case due := <-srv.timers:
			for _, x := range due {
				if hook := x.session.endpoint().Hooks.OnTimer; hook != nil && x.session.phase() == open {
					x.session.guard(func() { hook(x.session) })
				}
			}
		}
	}
}

// pingFrame is shared by all.
var pingFrame = frame.Prepare(ws.OpPing, nil).Plain()

// fire is called when a session's timer has come. Deadlines are lazy: activity
// only stores a time, and this looks at it.
func (srv *Server) fire(s *Session) {
	switch s.phase() {
	case shaking:
		s.refuse(Refuse(408, "the request did not come in time"))
	case open:
		srv.heartbeat(s)
	case closing, lingering:
		srv.stats.forced.Add(1)
		s.conn.Close()
	}
}

// heartbeat pings a session that was silent for the interval, and ends it when
// it stayed so for the timeout.
func (srv *Server) heartbeat(s *Session) {
	now := srv.tick.Load()
	heard, pinged := s.heard.Load(), s.pinged.Load()
	interval, timeout := ticks(srv.cfg.PingInterval), ticks(srv.cfg.PingTimeout)
	switch {
	case now-heard < interval:
		s.arm(time.Duration(interval-(now-heard)) * tick)
	case pinged <= heard || now == pinged:
		s.pinged.Store(now)
		srv.stats.pings.Add(1)
		s.outcome(s.conn.Write(pingFrame, netpoll.Control))
		s.arm(srv.cfg.PingTimeout)
	case now-pinged < timeout:
		s.arm(time.Duration(timeout-(now-pinged)) * tick)
	default:
		srv.stats.dead.Add(1)
		s.conn.Close()
	}
}

// ticks rounds up.
func ticks(d time.Duration) uint32 { return uint32((d + tick - 1) / tick) }
