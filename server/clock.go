package server

import (
	"math"
	"runtime"
	"time"

	"fanfare/frame"
	"fanfare/netpoll"
	"fanfare/server/internal/limit"
)

// clock drives the timers of a server. It moves the coarse time that activity is
// stamped with, and both wheels.
type clock struct {
	srv *Server

	usage     limit.Usage
	looked    uint32 // tick of the last look at sources
	collected uint32 // tick at which garbage was collected last because memory was short
}

// collectEvery is how often, in ticks, garbage is collected while memory is short.
// What pools hold takes two collections to go.
const collectEvery = ticksPerSecond

// run is the goroutine of the clock.
func (c *clock) run() {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-c.srv.quit.Done():
			return
		case <-ticker.C:
			c.beat()
		}
	}
}

// beat moves the time on to now. Beats that were missed, because the process did
// not run, are made up for by the next one.
func (c *clock) beat() {
	srv := c.srv
	now := srv.now()
	srv.tick.Store(max(uint32(now/tick), 1))
	short := srv.memory.Observe(c.usage.Read())
	t := srv.tick.Load()
	if short && (c.collected == 0 || t-c.collected >= collectEvery) {
		// It may be garbage, and nobody collects it while little is allocated.
		c.collected = t
		srv.background.Go(runtime.GC)
	}
	if t-c.looked >= ticksPerSecond {
		c.looked = t
		srv.sources.Sweep(t)
		srv.rejectLog.summarize(t)
	}
	srv.wheel.Advance(now, srv.fire)
	select {
	case srv.timers <- now:
	default: // an OnTimer hook is running: the next beat brings a later time
	}
}

// runTimers advances the timers of the application and calls the OnTimer hooks. It has a
// goroutine of its own because a hook may take long. A timer that is due stays in the
// wheel until its hook is called, so SetTimer can still move it.
func (srv *Server) runTimers() {
	for {
		select {
		case <-srv.quit.Done():
			return
		case now := <-srv.timers:
			srv.appTimers.Advance(now, srv.fireAppTimer)
		}
	}
}

func (srv *Server) fireAppTimer(x *extension) {
	s := x.session
	if hook := s.endpoint().Hooks.OnTimer; hook != nil && s.phase() == open && srv.quit.Err() == nil {
		s.guard(func() { hook(s) })
	}
}

// fire is called when a session's timer has come. Deadlines are lazy: activity
// only stores a time, and this looks at it.
func (srv *Server) fire(s *Session) {
	switch s.phase() {
	case shaking:
		s.rejectEarly(errTooSlow)
	case identifying:
		s.rejectEarly(errIdentifySlow)
	case answering, accepting: // will be armed again
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
	if x := s.ext.Load(); x != nil && x.expires != 0 && now >= x.expires {
		s.Close(frame.StatusUnauthorized, "the identity has expired")
		return
	}
	heard, pinged := s.heard.Load(), s.pinged.Load()
	interval, timeout := ticks(srv.cfg.PingInterval), ticks(srv.cfg.PingTimeout)
	switch {
	case pinged > heard && now-pinged < timeout:
		s.armHeartbeat(min(interval, timeout-(now-pinged)))
	case pinged > heard:
		srv.stats.dead.Add(1)
		s.conn.Close()
	case now-heard < interval:
		s.armHeartbeat(interval - (now - heard))
	default:
		s.pinged.Store(now)
		srv.stats.pings.Add(1)
		s.outcome(s.conn.Write(s.dialect().Heartbeat(), netpoll.Control))
		// The answer may come at once, and the silence behind it be as long as
		// the interval before the timeout is over.
		s.armHeartbeat(min(interval, timeout))
	}
}

// tickAt is the tick of a time, 0 for none and for what no clock here will reach:
// 32 bits of ticks are 13 years.
func (srv *Server) tickAt(t time.Time) uint32 {
	n := t.Sub(srv.started) / tick
	if t.IsZero() || n > math.MaxUint32 {
		return 0
	}
	return uint32(max(n, 1))
}

// armHeartbeat arms the timer of an open session for n ticks from now, or for when its
// identity expires. If the session is closed at the same time, that deadline holds.
func (s *Session) armHeartbeat(n uint32) {
	if x := s.ext.Load(); x != nil && x.expires != 0 {
		now := s.srv().tick.Load()
		n = min(n, max(x.expires, now+1)-now)
	}
	s.arm(time.Duration(n) * tick)
	if p := s.phase(); p == closing || p == lingering {
		s.arm(s.srv().cfg.CloseTimeout)
	}
}

// ticks rounds up.
func ticks(d time.Duration) uint32 { return uint32((d + tick - 1) / tick) }
