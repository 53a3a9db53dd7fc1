package server

import (
	"math"
	"runtime"
	"time"

	"fanfare/frame"
	"fanfare/netpoll"
	"fanfare/server/internal/handshake"
	"fanfare/server/internal/limit"
)

// tick is the resolution of heartbeats and deadlines.
const (
	tick           = limit.Tick
	ticksPerSecond = limit.TicksPerSecond
)

// clock advances the coarse time of a server, srv.tick, and its timer wheels.
type clock struct {
	srv *Server

	usage     limit.Usage
	last      uint32 // tick of the last beat
	looked    uint32 // tick at which sources were last swept
	collected uint32 // tick of the last garbage collection for lack of memory
}

// collectEvery is how often, in ticks, garbage is collected while memory is short.
// It takes two collections to free what pools hold.
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

// beat advances the time to now. After missed beats, because the process did not run,
// the next one advances by as much.
func (c *clock) beat() {
	srv := c.srv
	now := srv.now()
	srv.tick.Store(max(uint32(now/tick), 1))
	c.detectSuspension()
	short := srv.memory.Observe(c.usage.Read())
	t := srv.tick.Load()
	if short && (c.collected == 0 || t-c.collected >= collectEvery) {
		// It may be garbage, which is not collected while little is allocated.
		c.collected = t
		srv.background.Go(runtime.GC)
	}
	if t-c.looked >= ticksPerSecond {
		c.looked = t
		srv.sources.Sweep(t)
		srv.receipts.Sweep(now)
		if srv.tls != nil {
			srv.tls.Sweep()
		}
		srv.rejectLog.Summarize(t)
		srv.traces.Sweep(now)
	}
	if srv.moving.TryRLock() { // else sessions are moving: the next beat advances by as much
		srv.wheel.Advance(now, srv.fire)
		srv.moving.RUnlock()
	}
	srv.stepRated()
	select {
	case srv.timers <- now:
	default: // an OnTimer hook is running: the next beat brings a later time
	}
}

// detectSuspension notices that no beat has come for so long that the process, or its machine,
// must have been stopped. What clients have sent meanwhile is still unread, and a network
// may still carry their answers, so deadlines begin anew.
func (c *clock) detectSuspension() {
	srv, now := c.srv, c.srv.tick.Load()
	jump := min(ticksPerSecond, max(ticks(srv.live().PingTimeout)/2, 3))
	if c.last != 0 && now-c.last > jump {
		srv.resumed.Store(now)
		srv.log.Warn("process was suspended; heartbeats restart", "seconds", (time.Duration(now-c.last) * tick).Seconds())
	}
	c.last = now
}

// afterSuspension is the time that deadlines of handshakes and of closing get after the process
// was stopped, in ticks.
const afterSuspension = ticksPerSecond

// extended postpones a deadline that has come, and returns true, if the process was
// stopped a moment ago.
func (s *Session) extended() bool {
	srv := s.srv()
	resumed := srv.resumed.Load()
	left := int64(resumed+afterSuspension) - int64(srv.tick.Load())
	if resumed == 0 || left <= 0 {
		return false
	}
	s.arm(time.Duration(left) * tick)
	return true
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

// fire is called when a session's timer is due. Deadlines are lazy: activity only stores
// the time, and fire looks at it.
func (srv *Server) fire(s *Session) {
	p := s.phase()
	if p != open && p != ended && s.extended() {
		return
	}
	switch p {
	case readingProxyHeader, readingRequest:
		s.rejectEarly(handshake.ErrTooSlow)
	case identifying:
		s.rejectEarly(handshake.ErrIdentifySlow)
	case deciding, admitting: // will be armed again
	case open:
		srv.heartbeat(s)
	case closing, lingering:
		srv.stats.Forced.Add(1)
		s.conn.Close()
	}
}

// heartbeat pings a session that has been silent for the interval, and ends it when it
// has stayed silent for the timeout.
func (srv *Server) heartbeat(s *Session) {
	now := srv.tick.Load()
	if x := s.ext.Load(); x != nil && x.expires.Load() != 0 && now >= x.expires.Load() {
		s.Close(frame.StatusUnauthorized, "the identity has expired")
		return
	}
	heard, pinged := s.heard.Load(), s.pinged.Load()
	if s.stream() {
		heard = max(heard, pinged) // TCP answers, see netpoll.Conn.LimitUnacknowledged
	}
	interval, timeout := ticks(srv.live().PingInterval), ticks(srv.live().PingTimeout)
	// If the process was stopped, and nothing has been sent or heard since, a ping from
	// before means nothing. Many sessions are due at once: each is pinged at a time of
	// its own within the next interval.
	resumed := srv.resumed.Load()
	anew := resumed > max(heard, pinged)
	due := resumed + spreadOver(s.ID(), interval)
	switch {
	case anew && now < due:
		s.armHeartbeat(due - now)
	case anew:
		s.ping(now, min(interval, timeout))
	case pinged > heard && now-pinged < timeout:
		s.armHeartbeat(min(interval, timeout-(now-pinged)))
	case pinged > heard && s.conn.Active():
		// A hook blocks, or others keep the workers busy: bytes of the client may be
		// unread. They are looked at again when they have had time to be processed.
		s.armHeartbeat(timeout)
	case pinged > heard:
		srv.stats.Dead.Add(1)
		s.traceTimeout()
		s.conn.Close()
	case now-heard < interval:
		s.armHeartbeat(interval - (now - heard))
	default:
		// The answer may come at once, and the interval end before the timeout.
		s.ping(now, min(interval, timeout))
	}
}

// ping sends a heartbeat, and looks at the session again after some ticks.
func (s *Session) ping(now, next uint32) {
	s.pinged.Store(now)
	s.srv().stats.Pings.Add(1)
	s.outcome(s.conn.Write(s.heartbeatFrame(), netpoll.Control))
	s.armHeartbeat(next)
}

// spreadOver returns a number below n that differs from session to session.
func spreadOver(id uint64, n uint32) uint32 {
	return uint32(id * 0x9e3779b97f4a7c15 >> 32 % uint64(max(n, 1)))
}

// tickAt returns the tick of a time; 0 for the zero time, and for times beyond 32 bits of
// ticks, which are 13 years.
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
	if x := s.ext.Load(); x != nil {
		if expires := x.expires.Load(); expires != 0 {
			now := s.srv().tick.Load()
			n = min(n, max(expires, now+1)-now)
		}
	}
	s.arm(time.Duration(n) * tick)
	if p := s.phase(); p == closing || p == lingering {
		s.arm(s.srv().live().CloseTimeout)
	}
}

// ticks returns a duration in ticks, rounded up.
func ticks(d time.Duration) uint32 { return uint32((d + tick - 1) / tick) }
