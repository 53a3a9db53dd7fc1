package server

import (
	"context"
	"fmt"
	"time"

	"fanfare/frame"
	"fanfare/netpoll"
)

const (
	// drainStep is how often a batch of sessions is closed.
	drainStep = 50 * time.Millisecond
	// drainGrace is what Shutdown waits for hooks that still run when its time is
	// over.
	drainGrace = time.Second
)

// Shutdown ends the server in this order:
//
//  1. /readyz fails, so that load balancers look elsewhere;
//  2. the public listener closes;
//  3. sessions are closed with 1001 at Config.DrainRate, each behind what is
//     queued for it; those that are in their handshake are answered 503;
//  4. when all connections are gone, or ctx is done, what is left is cut off;
//  5. the API, the engine, the timers and the inbox stop, in this order.
//
// It returns an error if connections had to be cut off, and a second behind ctx
// at the latest, with an error if a hook does not return. Further calls wait for
// the first one, or for their own ctx.
func (srv *Server) Shutdown(ctx context.Context) error {
	if !srv.startDraining() {
		select {
		case <-srv.ended:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("server: shutdown: %w", ctx.Err())
		}
	}
	srv.engine.StopAccepting()
	srv.drain(ctx)
	left := srv.connections.Load()
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
	if left > 0 {
		return fmt.Errorf("server: %d connections were cut off, they did not close in time", left)
	}
	return nil
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

// end stops what a server consists of, each part when nothing that needs it is
// left.
func (srv *Server) end() {
	srv.engine.Close()
	srv.stop()
	srv.background.Wait()
	if srv.cfg.Cluster != nil {
		srv.cfg.Cluster.Leave()
	}
	srv.rejectionLog.flush(srv.tick.Load())
	srv.status.Store(stopped)
	close(srv.ended)
}

// drain ends the sessions at DrainRate, so that those who come back do not come
// all at once, and waits until all connections are gone or ctx is done.
func (srv *Server) drain(ctx context.Context) {
	ticker := time.NewTicker(drainStep)
	defer ticker.Stop()
	begun := time.Now()
	var left []*Session
	for closed := 0; srv.connections.Load() > 0; {
		if len(left) == 0 {
			// Again and again: some may have been accepted, adopted or just
			// being answered when those before them were listed.
			left = srv.closable()
		}
		due := int((time.Since(begun)+drainStep).Seconds()*float64(srv.cfg.DrainRate)) + 1
		n := min(due-closed, len(left))
		for _, s := range left[:n] {
			switch s.phase() {
			case shaking, identifying:
				s.rejectEarly(errGoingAway)
			case open:
				s.Close(frame.StatusGoingAway, "server is going away")
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

// closable are the sessions that nobody has begun to close.
func (srv *Server) closable() (all []*Session) {
	srv.engine.Each(func(h netpoll.Handler) {
		if h, ok := h.(handler); ok && h.s.phase() < closing {
			all = append(all, h.s)
		}
	})
	return all
}
