package server

import (
	"context"
	"fmt"
	"time"

	"fanfare/netpoll"
)

const (
	drainStep          = 50 * time.Millisecond
	codeGoingAway Code = 1001
)

// Shutdown ends the server in this order:
//
//  1. /readyz fails, so that load balancers look elsewhere;
//  2. the public listener closes;
//  3. sessions are closed with 1001 at Config.DrainRate, each behind what is
//     queued for it;
//  4. when all connections are gone, or ctx is done, what is left is cut off;
//  5. the API, the engine and the timers stop, in this order.
//
// It returns an error if connections had to be cut off.
func (srv *Server) Shutdown(ctx context.Context) error {
	if srv.status.Swap(draining) >= draining {
		srv.background.Wait()
		return nil
	}
	srv.engine.StopAccepting()
	srv.drain(ctx)
	left := srv.connections.Load()
	srv.stopAPI()
	srv.engine.Close()
	srv.stop()
	srv.background.Wait()
	srv.status.Store(stopped)
	if left > 0 {
		return fmt.Errorf("server: %d connections were cut off, they did not close in time", left)
	}
	return nil
}

// drain closes the sessions in paced batches, so that those who come back do
// not come all at once.
func (srv *Server) drain(ctx context.Context) {
	var all []*Session
	srv.engine.Each(func(h netpoll.Handler) {
		if h, ok := h.(handler); ok {
			all = append(all, h.s)
		}
	})
	ticker := time.NewTicker(drainStep)
	defer ticker.Stop()
	batch := max(srv.cfg.DrainRate*int(drainStep)/int(time.Second), 1)
	for len(all) > 0 || srv.connections.Load() > 0 {
		n := min(batch, len(all))
		for _, s := range all[:n] {
			if s.phase() == shaking {
				s.conn.Close()
			} else {
				s.Close(codeGoingAway, "server is going away")
			}
		}
		all = all[n:]
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
