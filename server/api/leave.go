package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// ListenerFile returns a duplicate of the listener's descriptor, for another process that
// serves it after this one, which makes a net.Listener of it with net.FileListener. From then
// on a Unix socket stays when this process closes it.
func (a *API) ListenerFile() (*os.File, error) {
	a.mu.Lock()
	ln := a.ln
	a.mu.Unlock()
	if u, ok := ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	f, ok := ln.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, fmt.Errorf("api: a %T has no descriptor: %w", ln, errors.ErrUnsupported)
	}
	file, err := f.File()
	if err != nil {
		return nil, fmt.Errorf("api: listener: %w", err)
	}
	return file, nil
}

// leaveCheck is how often Leave looks whether connections are left.
const leaveCheck = 20 * time.Millisecond

// Leave is for an API whose listener another process serves from now on: it accepts no
// connection, serves one more request on each that is open, ends batches after their
// current line, and answers requests that wait for a message. It returns when all connections have ended, or when ctx is done, after a
// Shutdown.
func (a *API) Leave(ctx context.Context) {
	a.leaving.Store(true)
	a.endWaits()
	a.mu.Lock()
	ln := a.ln
	var batches []*batch
	for b := range a.streams {
		batches = append(batches, b)
	}
	a.mu.Unlock()
	if ln != nil {
		ln.Close()
	}
	for _, b := range batches {
		b.interrupt()
	}
	ticker := time.NewTicker(leaveCheck)
	defer ticker.Stop()
	for a.conns.Len() > 0 && ctx.Err() == nil {
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
	a.Shutdown()
}
