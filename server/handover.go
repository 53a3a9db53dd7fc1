package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"fanfare/frame"
	"fanfare/netpoll"
	"fanfare/server/internal/handover"
)

// ErrHandOver: the other process of a handover has failed, or does not answer.
var ErrHandOver = errors.New("server: handover")

// Handover describes a handover that has succeeded.
type Handover struct {
	Sessions int           // connections that the other process serves now, those in their handshake included
	Left     int           // connections that only this process can serve
	Rounds   int           // in which they have moved
	Longest  time.Duration // of a round: how long a session was not served
	Took     time.Duration
}

// beginning is the payload of handover.Begin and handover.Ready.
type beginning struct {
	Version  int    `json:"version"`
	Tick     uint32 `json:"tick,omitzero"`
	LastID   uint64 `json:"last_id,omitzero"`
	LastPing uint64 `json:"last_ping,omitzero"`
}

func (b *beginning) check() error {
	if b.Version != handover.Version {
		return fmt.Errorf("%w: the other process speaks version %d of the protocol, this one %d", ErrHandOver, b.Version, handover.Version)
	}
	return nil
}

// Started is when the service was started: Config.Started, or the time of New.
func (srv *Server) Started() time.Time { return srv.started }

// ListenerFile returns a duplicate of the descriptor of the public listener, for another
// process, which makes a net.Listener of it with net.FileListener. From then on a Unix socket
// stays when this process closes it.
func (srv *Server) ListenerFile() (*os.File, error) {
	fds, err := srv.engine.DuplicateListeners()
	switch {
	case err != nil:
		return nil, fmt.Errorf("server: listener: %w", err)
	case len(fds) != 1:
		for _, fd := range fds {
			os.NewFile(uintptr(fd), "").Close()
		}
		return nil, fmt.Errorf("server: there are %d listeners with a descriptor: want one", len(fds))
	}
	return os.NewFile(uintptr(fds[0]), "public"), nil
}

// HandOver gives the connections to another process, without a disconnect. conn is a Unix
// stream socket at whose other end that process calls TakeOver; it belongs to the Server
// afterwards. Both need a Transport with a poller.
//
// No connection is accepted meanwhile: clients wait in the queue of the listener, which the
// other process serves afterwards. Sessions move in rounds of about 50 ms, in which pushes
// wait. A push in either process reaches the sessions of both, also after HandOver, until one
// of them ends. What is left then are connections that cannot be described: those of TLS 1.2,
// of a Mount without a descriptor, and those whose hook does not return. Shutdown closes them
// with 1012.
//
// An error says why the other process has failed. This one then serves every session that the
// other one had not confirmed, accepts again, and is as before. The caller ends the other
// process: HandOver has ended the stream, and that process serves none of those sessions.
//
// Hooks.OnClose is not called for a session that has moved, and its methods return as if it had
// ended. Session.ID stays. In a cluster the two processes are two nodes.
func (srv *Server) HandOver(ctx context.Context, conn *net.UnixConn) (*Handover, error) {
	g := &giver{srv: srv, link: newLink(srv, handover.New(conn)), sent: make(map[*Session]bool)}
	if !srv.handing.CompareAndSwap(false, true) {
		conn.Close()
		return nil, fmt.Errorf("%w: another one is in progress", ErrHandOver)
	}
	began := time.Now()
	srv.background.Go(g.link.run)
	srv.engine.ShareDescriptors(true)
	err := g.run(ctx)
	if err != nil {
		g.giveUp(err)
		srv.engine.ShareDescriptors(false)
		srv.handing.Store(false)
		return nil, err
	}
	g.result.Left = int(srv.connections.Load())
	g.result.Took = time.Since(began)
	return &g.result, nil
}

// giver is a HandOver.
type giver struct {
	srv    *Server
	link   *link
	sent   map[*Session]bool // whose descriptor the other process has
	result Handover

	listeners []int // duplicates, to accept again
}

const (
	// answerTimeout bounds the answers of the other process that it gives at once.
	answerTimeout = 5 * time.Second
	// roundTimeout is the same while pushes wait.
	roundTimeout = 2 * time.Second
	// roundAim is how long a round should take.
	roundAim = 40 * time.Millisecond
	// firstRound is the number of sessions of the first one.
	firstRound = 1024
	maxRound   = 1 << 14
	// freezeTime is how long a round waits for read turns that are in progress.
	freezeTime = 20 * time.Millisecond
	// patience is how long HandOver tries to move connections that are busy, in a TLS
	// handshake, or wait for their Identifier.
	patience = 500 * time.Millisecond
)

func (g *giver) run(ctx context.Context) error {
	srv := g.srv
	first := beginning{Version: handover.Version, Tick: srv.tick.Load(), LastID: srv.engine.LastID()}
	if srv.replay != nil {
		first.LastPing = srv.replay.LastPing()
	}
	if err := g.send(handover.Begin, &first); err != nil {
		return err
	}
	var other beginning
	if err := g.expect(ctx, handover.Ready, &other, answerTimeout); err != nil {
		return err
	}
	if err := other.check(); err != nil {
		return err
	}
	if err := g.sendDescriptors(ctx, g.connections(open)); err != nil {
		return err
	}
	if err := g.stopAccepting(); err != nil {
		return err
	}
	if err := g.moveAll(ctx); err != nil {
		return err
	}
	if err := g.send(handover.Done, nil); err != nil {
		return err
	}
	if err := g.expect(ctx, handover.Finished, nil, answerTimeout); err != nil {
		return err
	}
	srv.moving.Lock()
	g.connect()
	srv.moving.Unlock()
	srv.moveStore(g.link)
	for _, fd := range g.listeners {
		closeFD(fd)
	}
	return nil
}

func (g *giver) send(kind handover.Kind, v any, fds ...int) error {
	if err := g.link.wire.Write(kind, v, fds...); err != nil {
		if why := g.link.ended(); why != nil {
			err = why
		}
		return fmt.Errorf("%w: %w", ErrHandOver, err)
	}
	return nil
}

// expect waits for a message of the other process.
func (g *giver) expect(ctx context.Context, kind handover.Kind, v any, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case m, ok := <-g.link.control:
		switch {
		case !ok:
			return fmt.Errorf("%w: the other process has ended instead of answering %v: %w", ErrHandOver, kind, g.link.ended())
		case m.Kind != kind:
			return fmt.Errorf("%w: %v instead of %v", ErrHandOver, m.Kind, kind)
		case v == nil:
			return nil
		}
		return m.Decode(v)
	case <-t.C:
		return fmt.Errorf("%w: no %v within %v", ErrHandOver, kind, d)
	case <-ctx.Done():
		return fmt.Errorf("%w: no %v: %w", ErrHandOver, kind, ctx.Err())
	}
}

// connections returns the sessions that may move, from a phase on.
func (g *giver) connections(from phase) (all []*Session) {
	g.srv.engine.Each(func(h netpoll.Handler) {
		if h, ok := h.(handler); ok && h.s.phase() >= from && h.s.movable() {
			all = append(all, h.s)
		}
	})
	return all
}

// descriptorsOf is the payload of handover.Descriptors: the IDs of the connections.
type descriptorsOf struct {
	IDs []uint64 `json:"ids"`
}

// sendDescriptors sends the descriptors that the other process does not have, and waits until
// it has them. Nothing has to wait for that.
func (g *giver) sendDescriptors(ctx context.Context, all []*Session) error {
	var d descriptorsOf
	var fds []int
	flush := func() error {
		if len(fds) == 0 {
			return nil
		}
		err := g.send(handover.Descriptors, &d, fds...)
		for _, fd := range fds {
			closeFD(fd)
		}
		d.IDs, fds = d.IDs[:0], fds[:0]
		return err
	}
	for _, s := range all {
		if g.sent[s] {
			continue
		}
		fd, err := s.conn.Duplicate()
		if errors.Is(err, net.ErrClosed) {
			continue
		}
		if err != nil {
			flush()
			return fmt.Errorf("%w: %w", ErrHandOver, err)
		}
		g.sent[s] = true
		d.IDs, fds = append(d.IDs, s.ID()), append(fds, fd)
		if len(fds) == handover.MaxDescriptors {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	if err := g.send(handover.Sync, nil); err != nil {
		return err
	}
	return g.expect(ctx, handover.Synced, nil, answerTimeout)
}

// stopAccepting keeps duplicates of the listeners, to go on if the other process fails.
func (g *giver) stopAccepting() (err error) {
	if g.listeners, err = g.srv.engine.DuplicateListeners(); err != nil {
		return fmt.Errorf("%w: %w", ErrHandOver, err)
	}
	g.srv.engine.StopAccepting()
	return nil
}

// acceptAgain is the reverse.
func (g *giver) acceptAgain() {
	for _, fd := range g.listeners {
		f := os.NewFile(uintptr(fd), "")
		ln, err := net.FileListener(f)
		f.Close()
		if err == nil {
			err = g.srv.engine.Listen(ln, g.srv.accept)
		}
		if err != nil {
			g.srv.log.Error("listener cannot be served again", "err", err)
		}
	}
	g.listeners = nil
}

// giveUp goes on without the other process.
func (g *giver) giveUp(why error) {
	g.link.wire.Write(handover.Failed, why.Error())
	g.link.wire.Close()
	<-g.link.over
	g.acceptAgain()
}

// leaveCode is the code with which Shutdown closes sessions.
func (srv *Server) leaveCode() (Code, string) {
	if srv.handing.Load() {
		return frame.StatusServiceRestart, "service restart"
	}
	return frame.StatusGoingAway, "server is going away"
}
