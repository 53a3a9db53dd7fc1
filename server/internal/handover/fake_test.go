package handover

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"fanfare/netpoll"
	"fanfare/server/internal/gate"
	"fanfare/server/node"
	"fanfare/server/store"
)

// fakeSession is a session of one of two fake hosts.
type fakeSession struct {
	host    *fakeHost
	id      uint64
	opened  bool
	fixed   bool // Export returns false
	ended   bool // the connection has ended
	file    *os.File
	history []string // what has happened to it
}

func (s *fakeSession) note(what string) { s.history = append(s.history, what) }
func (s *fakeSession) ID() uint64       { return s.id }
func (s *fakeSession) WasOpened() bool  { return s.opened }

func (s *fakeSession) Duplicate() (int, error) {
	if s.ended {
		return 0, net.ErrClosed
	}
	return duplicate(s.file)
}

func (s *fakeSession) Export() (*State, bool) {
	if s.host.locked != 1 {
		s.host.t.Errorf("session %d is exported while pushes do not wait", s.id)
	}
	if s.fixed {
		return nil, false
	}
	s.note("exported")
	st := &State{Conn: netpoll.State{ID: s.id}, Phase: ReadingRequest}
	if s.opened {
		st.Phase, st.Opened, st.Path, st.User = Open, 1, "/ws", fmt.Sprint("u", s.id)
	}
	return st, true
}

func (s *fakeSession) Thaw()           { s.note("thawed") }
func (s *fakeSession) TakeBack(*State) { s.note("taken back") }

func (s *fakeSession) Abandon() {
	s.note("abandoned")
	s.host.sessions = slices.DeleteFunc(s.host.sessions, func(o *fakeSession) bool { return o == s })
}

// fakeHost is a Source, a Destination and an Executor without connections.
type fakeHost struct {
	t        testing.TB
	link     *Link
	sessions []*fakeSession
	reject   uint64 // the ID of a session that Prepare rejects
	busy     int    // how often Busy reports true

	counters   Counters
	listening  bool
	locked     int
	connected  bool
	refused    []uint64
	rounds     [][]uint64
	prepared   []uint64
	adopted    []uint64
	discarded  []uint64
	background sync.WaitGroup

	mu       sync.Mutex
	executed []*node.Command // guarded by mu
}

func (h *fakeHost) add(n int, opened bool) {
	for range n {
		r, w, err := os.Pipe()
		if err != nil {
			h.t.Fatal(err)
		}
		w.Close()
		h.t.Cleanup(func() { r.Close() })
		h.sessions = append(h.sessions, &fakeSession{host: h, id: uint64(len(h.sessions) + 1), opened: opened, file: r})
	}
}

func (h *fakeHost) Counters() Counters { return h.counters }

func (h *fakeHost) Sessions() (all []Session) {
	for _, s := range h.sessions {
		all = append(all, s)
	}
	return all
}

func (h *fakeHost) Busy() bool {
	h.busy--
	return h.busy >= 0
}

func (h *fakeHost) Freeze(all []Session) []Session {
	var ids []uint64
	for _, s := range all {
		s.(*fakeSession).note("frozen")
		ids = append(ids, s.ID())
	}
	h.rounds = append(h.rounds, ids)
	return slices.Clone(all)
}

func (h *fakeHost) StopAccepting() error { h.listening = false; return nil }
func (h *fakeHost) AcceptAgain()         { h.listening = true }
func (h *fakeHost) Lock()                { h.locked++ }
func (h *fakeHost) Unlock()              { h.locked-- }
func (h *fakeHost) Connect()             { h.connected = true }

func (h *fakeHost) Refused(s Session, why string) { h.refused = append(h.refused, s.ID()) }

func (h *fakeHost) Continue(c Counters) { h.counters = c }

func (h *fakeHost) Prepare(fd int, st *State) (Arrival, error) {
	if st.Conn.ID == h.reject {
		return nil, fmt.Errorf("session %d is rejected", st.Conn.ID)
	}
	h.prepared = append(h.prepared, st.Conn.ID)
	return &fakeArrival{h, st.Conn.ID, fd}, nil
}

type fakeArrival struct {
	host *fakeHost
	id   uint64
	fd   int
}

func (a *fakeArrival) Adopt() {
	a.host.adopted = append(a.host.adopted, a.id)
	closeAll([]int{a.fd})
}

func (a *fakeArrival) Discard() {
	a.host.discarded = append(a.host.discarded, a.id)
	closeAll([]int{a.fd})
}

func (h *fakeHost) Execute(c *node.Command) node.Reply {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.executed = append(h.executed, c)
	return node.Reply{Count: len(h.executed)}
}

func (h *fakeHost) commands() []*node.Command {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.executed)
}

func (h *fakeHost) Begin(b store.Box, e store.Entry) (func() (gate.Stored, error), error) {
	switch string(e.Payload) {
	case "too big":
		return nil, errTooBig
	case "full":
		return func() (gate.Stored, error) { return gate.Stored{}, fmt.Errorf("box of %s: %w", b.User, store.ErrFull) }, nil
	}
	return func() (gate.Stored, error) {
		return gate.Stored{Epoch: "e", Receipt: store.Receipt{Offset: uint64(len(e.Payload))}, Receivers: 2}, nil
	}, nil
}

func (h *fakeHost) Purge(b store.Box) (uint64, error) { return 7, nil }

var errTooBig = fmt.Errorf("too big")

// newHost returns a host at one end of a stream.
func newHost(t testing.TB, c *Conn) *fakeHost {
	h := &fakeHost{t: t, listening: true}
	h.link = NewLink(c, LinkConfig{Executor: h, Go: h.background.Go, Faults: []error{store.ErrFull, errTooBig}, Ended: func(*Link) {}})
	t.Cleanup(func() {
		h.link.Close()
		h.background.Wait()
	})
	return h
}

// quick is for tests in which the other process does not answer.
var quick = Timing{Answer: 200 * time.Millisecond, Round: 200 * time.Millisecond, Patience: 0, First: 1024}

// patient is for tests in which it does.
var patient = Timing{Answer: time.Minute, Round: time.Minute, Patience: time.Minute, First: 1024}

// hand gives the sessions of one host to another one.
func hand(t testing.TB, from, to *fakeHost, timing Timing) (r Result, taken int, giveErr, takeErr error) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		taken, takeErr = Take(context.Background(), to, to.link, to.Connect)
	}()
	from.background.Go(from.link.Run)
	r, giveErr = Give(context.Background(), from, from.link, timing)
	<-done
	return r, taken, giveErr, takeErr
}
