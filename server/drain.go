package server

import (
	"context"
	"fmt"
	"time"

	"fanfare/netpoll"
	"fanfare/server/internal/handshake"
)

// Status is the phase of a Server's life.
type Status uint32

// The phases, in order.
const (
	Starting Status = iota // New has returned
	Serving                // connections are accepted
	Leaving                // Drain was called; connections are accepted for Config.DrainDelay
	Draining               // sessions are being closed
	Stopped                // Shutdown has returned
)

var statusNames = [...]string{Starting: "starting", Serving: "serving", Leaving: "leaving", Draining: "draining", Stopped: "stopped"}

func (s Status) String() string { return statusNames[s] }

// Status returns the present phase.
func (srv *Server) Status() Status { return Status(srv.status.Load()) }

const (
	// drainStep is how often a batch of sessions is closed.
	drainStep = 50 * time.Millisecond
	// drainGrace is how long Shutdown waits for running hooks after its context is
	// done.
	drainGrace = time.Second
)

// Drain closes the sessions in order:
//
//  1. Status is Leaving for Config.DrainDelay: everything works, and load balancers find
//     out that they should connect elsewhere;
//  2. Status is Draining, the public listener closes, and paced broadcasts end where they
//     are: sessions that have not received them connect to another node;
//  3. sessions are closed with 1001 at Config.DrainRate, each after what is queued for
//     it; handshakes that are not complete are answered 503.
//
// It returns when all connections have ended, or with an error when ctx is done. The
// server can still push, so that an HTTP API ends between Drain and Shutdown.
func (srv *Server) Drain(ctx context.Context) error {
	if srv.live().DrainDelay > 0 && srv.status.CompareAndSwap(serving, leaving) {
		delay := time.NewTimer(srv.live().DrainDelay)
		select {
		case <-delay.C:
		case <-ctx.Done():
			delay.Stop()
		}
	}
	if srv.startDraining() {
		srv.engine.StopAccepting()
		srv.paced.Stop()
	}
	srv.drain(ctx)
	if left := srv.connections.Load(); left > 0 {
		return fmt.Errorf("server: %d connections did not close in time", left)
	}
	return nil
}

// DrainNow is Drain without Config.DrainDelay.
func (srv *Server) DrainNow(ctx context.Context) error {
	srv.status.CompareAndSwap(serving, leaving)
	return srv.Drain(ctx)
}

// Shutdown is Drain, if that was not called, and then ends the server: connections that
// are left are closed, and engine, replay and timers stop, in this order. Config.Store
// may be closed when it has returned.
//
// It returns an error if connections had to be closed early. If a hook does not return,
// Shutdown returns with an error a second after ctx is done, at the latest. Further calls
// wait for the first one, or for their own ctx.
func (srv *Server) Shutdown(ctx context.Context) error {
	if !srv.ending.CompareAndSwap(false, true) {
		select {
		case <-srv.ended:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("server: shutdown: %w", ctx.Err())
		}
	}
	err := srv.Drain(ctx)
	go srv.end()
	select {
	case <-srv.ended:
	case <-ctx.Done():
		select {
		case <-srv.ended:
		case <-time.After(drainGrace):
			return fmt.Errorf("server: hooks do not return: %w", ctx.Err())
		}
	}
	return err
}

// startDraining reports false if the server is draining already, or has ended.
func (srv *Server) startDraining() bool {
	for {
		was := srv.status.Load()
		if was >= draining {
			return false
		}
		if srv.status.CompareAndSwap(was, draining) {
			return true
		}
	}
}

// end stops the parts of the server, each after the parts that need it.
func (srv *Server) end() {
	srv.engine.Close()
	if srv.replay != nil {
		srv.replay.Stop()
	}
	srv.stop()
	srv.closeLink()
	srv.background.Wait()
	if srv.cluster != nil {
		srv.cluster.Leave()
	}
	srv.rejectLog.Flush(srv.tick.Load())
	srv.status.Store(stopped)
	close(srv.ended)
}

// drain ends the sessions at DrainRate, so that clients do not all reconnect
// at once, and waits until all connections have ended or ctx is done.
func (srv *Server) drain(ctx context.Context) {
	ticker := time.NewTicker(drainStep)
	defer ticker.Stop()
	begun := srv.now()
	var left []*Session
	for closed := 0; srv.connections.Load() > 0; {
		if len(left) == 0 {
			// List them again: others may have been accepted, adopted or answered
			// since the last list.
			left = srv.closable()
		}
		n := min(dueAt(srv.now()-begun, srv.live().DrainRate)-closed, len(left))
		for _, s := range left[:n] {
			switch s.phase() {
			case readingProxyHeader, readingRequest, identifying:
				s.rejectEarly(handshake.ErrGoingAway)
			case open:
				s.Close(srv.leaveCode())
			}
		}
		closed += n
		left = left[n:]
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// dueAt returns how many sessions the drain should have closed after took. The first step
// is due at once and closes at least one.
func dueAt(took time.Duration, rate int) int {
	return int((took+drainStep).Seconds()*float64(rate)) + 1
}

// closable returns the sessions that have not begun to close.
func (srv *Server) closable() (all []*Session) {
	srv.engine.Each(func(h netpoll.Handler) {
		if h, ok := h.(handler); ok && h.s.phase() < closing {
			all = append(all, h.s)
		}
	})
	return all
}
