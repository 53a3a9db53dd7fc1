package server

import (
	"context"
	"fmt"
	"math"
	"net"
	"os"
	"time"

	"fanfare/netpoll"
	"fanfare/registry"
	"fanfare/server/internal/gate"
	"fanfare/server/internal/handover"
	"fanfare/server/node"
	"fanfare/server/store"
)

// ErrHandOver: the other process of a handover has failed, or does not answer.
var ErrHandOver = handover.ErrFailed

// Handover describes a handover that has succeeded.
type Handover struct {
	Sessions int           // connections that the other process serves now, those in their handshake included
	Left     int           // connections that only this process can serve
	Rounds   int           // in which they have moved
	Longest  time.Duration // of a round: how long a session was not served
	Took     time.Duration
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
// of a Mount without a descriptor, those whose hook does not return, and those whose messages
// are still being published or answered. Shutdown closes them
// with 1012.
//
// An error says why the other process has failed. This one then serves every session that the
// other one had not confirmed, accepts again, and is as before. The caller ends the other
// process: HandOver has ended the stream, and that process serves none of those sessions.
//
// Hooks.OnClose is not called for a session that has moved, and its methods return as if it had
// ended. Session.ID stays. In a cluster the two processes are two nodes.
func (srv *Server) HandOver(ctx context.Context, conn *net.UnixConn) (*Handover, error) {
	if !srv.handing.CompareAndSwap(false, true) {
		conn.Close()
		return nil, fmt.Errorf("%w: another one is in progress", ErrHandOver)
	}
	began := time.Now()
	l := srv.newLink(conn)
	srv.background.Go(l.Run)
	srv.engine.ShareDescriptors(true)
	g := &giving{srv: srv, link: l}
	r, err := handover.Give(ctx, g, l, srv.timing)
	if err != nil {
		srv.engine.ShareDescriptors(srv.keeping != nil)
		srv.handing.Store(false)
		return nil, err
	}
	srv.gate.Move(l)
	for _, f := range g.listeners {
		f.Close()
	}
	return &Handover{Sessions: r.Sessions, Left: int(srv.connections.Load()), Rounds: r.Rounds, Longest: r.Longest, Took: time.Since(began)}, nil
}

// TakeOver takes the connections of another process, which calls HandOver at the other end of
// conn, a Unix stream socket that belongs to the Server afterwards. It is called before Start
// and Serve, and once. Config.Started is that of the other process. Endpoints are found by
// their path, those of Mounts too, which must exist before.
//
// It returns when all sessions are here, or with an error when the other process has given up,
// or has ended: the sessions that had moved by then are served, and the others belong to the
// other process. Messages that are pushed in this process, by hooks of sessions that have
// moved, wait until then.
func (srv *Server) TakeOver(ctx context.Context, conn *net.UnixConn) (sessions int, err error) {
	l := srv.newLink(conn)
	srv.moving.Lock()
	defer srv.moving.Unlock()
	srv.users.SetLimits(unlimited)
	defer func() { srv.users.SetLimits(srv.live().limits()) }()
	t := &taking{srv: srv}
	sessions, err = handover.Take(ctx, t, l, func() { srv.connect(l) })
	if t.crashed && srv.replay != nil {
		srv.replay.Recheck() // what was stored when the other process died may not have been delivered
	}
	return sessions, err
}

// unlimited lets users keep the sessions and topics that they have.
var unlimited = registry.Limits{SessionsPerUser: math.MaxInt32, TopicsPerSession: math.MaxInt32}

// freezeTime is how long a round waits for read turns that are in progress.
const freezeTime = 20 * time.Millisecond

// giving is a server as a HandOver sees it.
type giving struct {
	srv       *Server
	link      *handover.Link
	listeners []*os.File // duplicates, to accept again
}

var _ handover.Source = (*giving)(nil)

// Counters returns what the other process continues.
func (g *giving) Counters() handover.Counters {
	c := handover.Counters{Tick: g.srv.tick.Load(), LastID: g.srv.engine.LastID()}
	if g.srv.replay != nil {
		c.LastPing = g.srv.replay.LastPing()
	}
	return c
}

// Sessions returns the sessions that may move.
func (g *giving) Sessions() (all []handover.Session) {
	g.srv.engine.Each(func(h netpoll.Handler) {
		if h, ok := h.(handler); ok && h.s.movable() {
			all = append(all, mover(h))
		}
	})
	return all
}

// Busy reports whether there are connections that may become movable soon.
func (g *giving) Busy() (busy bool) {
	g.srv.engine.Each(func(h netpoll.Handler) {
		if h, ok := h.(handler); ok && h.s.conn.NetConn() == nil {
			p := h.s.phase()
			busy = busy || p == deciding || p == identifying || p == admitting || h.s.tlsHandshaking()
		}
	})
	return busy || g.srv.waitingUpstream() > 0
}

// Freeze acquires the read turns of sessions.
func (g *giving) Freeze(all []handover.Session) (frozen []handover.Session) {
	conns := make([]*netpoll.Conn, len(all))
	of := make(map[*netpoll.Conn]handover.Session, len(all))
	for i, s := range all {
		conns[i] = &s.(mover).s.conn
		of[conns[i]] = s
	}
	for _, c := range g.srv.engine.Freeze(conns, freezeTime) {
		frozen = append(frozen, of[c])
	}
	return frozen
}

// StopAccepting keeps duplicates of the listeners, to go on if the other process fails.
func (g *giving) StopAccepting() error {
	fds, err := g.srv.engine.DuplicateListeners()
	if err != nil {
		return err
	}
	for _, fd := range fds {
		g.listeners = append(g.listeners, os.NewFile(uintptr(fd), "listener"))
	}
	g.srv.engine.StopAccepting()
	return nil
}

// AcceptAgain is the reverse of StopAccepting.
func (g *giving) AcceptAgain() {
	for _, f := range g.listeners {
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

// Lock locks moving without making new pushes wait for one that is in progress, at first: a
// broadcast to many sessions takes long.
func (g *giving) Lock() {
	for range 50 {
		if g.srv.moving.TryLock() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	g.srv.moving.Lock()
}

// Unlock is the reverse of Lock.
func (g *giving) Unlock() { g.srv.moving.Unlock() }

// Connect has pushes reach the sessions of the other process, too.
func (g *giving) Connect() { g.srv.connect(g.link) }

// Refused logs that a session stays.
func (g *giving) Refused(s handover.Session, why string) {
	g.srv.log.Warn("session is not handed over", "err", why, "user", s.(mover).s.User())
}

// taking is a server as a TakeOver sees it.
type taking struct {
	srv     *Server
	crashed bool
}

var _ handover.Destination = (*taking)(nil)

// Continue continues the counters of the other process.
func (t *taking) Continue(c handover.Counters) {
	t.crashed = c.Crashed
	t.srv.engine.ContinueIDs(c.LastID)
	if t.srv.replay != nil {
		t.srv.replay.ContinuePings(c.LastPing)
	}
}

// Prepare makes a session of its state.
func (t *taking) Prepare(fd int, st *handover.State) (handover.Arrival, error) {
	s, err := t.srv.prepareImport(fd, st)
	if err != nil {
		return nil, err
	}
	return arrival{s, st}, nil
}

// newLink returns a Link to the other process of a handover.
func (srv *Server) newLink(conn *net.UnixConn) *handover.Link {
	return handover.NewLink(handover.New(conn), handover.LinkConfig{
		Executor: executor{srv}, Go: srv.background.Go, Faults: linkFaults, Ended: srv.disconnect,
	})
}

// linkFaults are the errors of a store that callers test for. Processes name them by their place
// in this list, and may have different versions: append to it only.
var linkFaults = []error{store.ErrFull, store.ErrDiskFull, store.ErrUnavailable, store.ErrDamaged, ErrNoStore, ErrNotDurable, ErrTooBig,
	context.DeadlineExceeded, registry.ErrTooManyTopics, store.ErrTTL, store.ErrIDReused}

// peer is the other process of a handover, a *handover.Link. Since only connect knows that type,
// a program that never hands over links neither the protocol nor its JSON: every push names a
// peer.
type peer interface {
	Ask(c *Command) handover.Asked
	Close()
}

// connect has pushes reach the sessions of the other process, too. The caller holds moving. The
// nodes of a cluster reach each other without that.
func (srv *Server) connect(l *handover.Link) {
	if srv.cluster == nil {
		srv.peer = l
	}
}

// disconnect forgets the other process.
func (srv *Server) disconnect(l *handover.Link) {
	srv.moving.Lock()
	if srv.peer == l {
		srv.peer = nil
	}
	srv.moving.Unlock()
}

// closeLink ends the stream to the other process, if there is one.
func (srv *Server) closeLink() {
	srv.moving.RLock()
	defer srv.moving.RUnlock()
	if srv.peer != nil {
		srv.peer.Close()
	}
}

// executor is a server as the other process of a handover sees it. That has the order of
// commands and rounds in hand, and so moving is not held.
type executor struct{ srv *Server }

func (e executor) Execute(c *Command) Reply { return e.srv.execute("command of the other process", c) }

func (e executor) Begin(b store.Box, entry store.Entry) (finish func() (gate.Stored, error), err error) {
	op := Text
	if entry.Binary {
		op = Binary
	}
	p, err := e.srv.Begin(b, Entry{Op: op, Payload: entry.Payload, ID: entry.ID, TTL: entry.TTL})
	if err != nil {
		return nil, err
	}
	return func() (gate.Stored, error) {
		st, err := p.Finish(e.srv.quit)
		return gate.Stored{Receipt: store.Receipt{Offset: st.Offset}, Epoch: st.Epoch, Receivers: st.Receivers}, err
	}, nil
}

func (e executor) Purge(b store.Box) (uint64, error) { return e.srv.Purge(e.srv.quit, b) }

// together runs an operation on the sessions of this process and, during a handover, on
// those of the other one. It returns the sum of the sessions concerned.
func (srv *Server) together(here func() int, command func() *Command) int {
	r, asked := srv.besides(func() Reply { return Reply{Count: here()} }, command)
	if there, ok := asked.Wait(); ok {
		r.Count += there.Count
	}
	return r.Count
}

// inBoth is together for operations whose reply is more than a number.
func (srv *Server) inBoth(here func() Reply, command func() *Command) Reply {
	r, asked := srv.besides(here, command)
	if there, ok := asked.Wait(); ok {
		r.Count += there.Count
		r.Sessions = append(r.Sessions, there.Sessions...)
		r.Users = node.MergeUsers(r.Users, there.Users)
		r.Data = append(r.Data, there.Data...)
		r.Receipt = node.MergeReceipts(r.Receipt, there.Receipt)
		if r.Error == "" {
			r.Error = there.Error
		}
	}
	return r
}

// besides is inBoth without waiting for the other process.
func (srv *Server) besides(here func() Reply, command func() *Command) (r Reply, asked handover.Asked) {
	srv.moving.RLock()
	defer srv.moving.RUnlock()
	r = here()
	if srv.peer != nil {
		asked = srv.peer.Ask(command())
	}
	return r, asked
}
