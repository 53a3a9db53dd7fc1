package server

import (
	"errors"
	"net"
	"sync"

	"fanfare/netpoll"
	"fanfare/server/internal/handover"
)

// Marks is memory that a Server shares with a keeper: another process, which has duplicates of
// the descriptors of sessions. When the Server's process has died, Marks.Look says which of
// them were at rest, between two messages.
type Marks = netpoll.Marks

// MarkSize is the memory that a descriptor needs in Marks.
const MarkSize = netpoll.MarkSize

// MarksIn returns the Marks that have their place in memory, which is zero at first.
func MarksIn(memory []byte) Marks { return netpoll.MarksIn(memory) }

// Found is what Marks.Look returns; see package netpoll.
type Found = netpoll.Found

const (
	FoundUnsent = netpoll.FoundUnsent
	FoundBusy   = netpoll.FoundBusy
	FoundAtRest = netpoll.FoundAtRest
)

// Keep has the Server describe its sessions to a keeper. It is called before TakeOver, Start and
// Serve, and once. The Transport must have a poller.
//
// A session is described when it is open, and again when its description has changed, unless it
// has TLS, a compression context, or Data: those end with the process.
func (srv *Server) Keep(m Marks) *Keeping {
	srv.engine.UseMarks(m)
	srv.engine.ShareDescriptors(true)
	srv.keeping = &Keeping{srv: srv, wake: make(chan struct{}, 1)}
	return srv.keeping
}

// Keeping is what a Server tells its keeper.
type Keeping struct {
	srv  *Server
	wake chan struct{} // has room for one

	mu     sync.Mutex
	listed []*Session // are described next; guarded by mu
	ended  []uint64   // guarded by mu
	over   bool       // End was called; guarded by mu

	warned [len(unkeepable)]bool // owned by the goroutine that calls Take
}

// Kept describes a session at rest.
type Kept struct {
	State   *handover.State
	Version uint32 // for Marks.Look
	Number  int    // of the descriptor, for Marks.Look
	File    int    // a duplicate of it, which belongs to the caller; -1: the keeper has one
	Stream  bool   // the client does not understand a close frame

	session *Session
}

// Wake receives when Take has something to return.
func (k *Keeping) Wake() <-chan struct{} { return k.wake }

// End notes that the keeper has ended. Take returns nothing from then on, and nothing is gathered
// for it.
func (k *Keeping) End() {
	k.mu.Lock()
	k.over, k.listed, k.ended = true, nil, nil
	k.mu.Unlock()
}

// touch notes that what the keeper knows of the session is not true any more.
func (s *Session) touch() {
	if k := s.srv().keeping; k != nil && s.conn.Touch() {
		k.list(s)
	}
}

// list has Take look at a session.
func (k *Keeping) list(s *Session) {
	k.mu.Lock()
	if !k.over {
		k.listed = append(k.listed, s)
	}
	k.mu.Unlock()
	k.signal()
}

// forget notes that the session has ended.
func (k *Keeping) forget(s *Session) {
	if k == nil {
		return
	}
	k.mu.Lock()
	if !k.over {
		k.ended = append(k.ended, s.ID())
	}
	k.mu.Unlock()
	k.signal()
}

func (k *Keeping) signal() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Take returns at most most descriptions, and the IDs of sessions that have ended. Those come first:
// the keeper forgets them before it reads the descriptions.
func (k *Keeping) Take(most int) (all []Kept, ended []uint64) {
	k.mu.Lock()
	n := min(most, len(k.listed))
	listed := k.listed[:n:n]
	if k.listed = k.listed[n:]; len(k.listed) == 0 {
		k.listed = nil
	} else {
		k.signal()
	}
	ended, k.ended = k.ended, nil
	k.mu.Unlock()
	for _, s := range listed {
		if kept, ok := k.look(s); ok {
			all = append(all, kept)
		}
	}
	return all, ended
}

// Sent notes that the keeper has descriptions that Take has returned.
func (k *Keeping) Sent(all []Kept) {
	for i := range all {
		k.unlist(all[i].session, all[i].Version)
	}
}

// unlist is the reverse of list, unless the session has changed since.
func (k *Keeping) unlist(s *Session, version uint32) {
	if !s.conn.Described(version) {
		k.list(s)
	}
}

// Counters are what another process continues.
func (k *Keeping) Counters() handover.Counters { return (&giving{srv: k.srv}).Counters() }

// look describes a session, or lists it again if it is not at rest.
func (k *Keeping) look(s *Session) (kept Kept, ok bool) {
	version, known, ok := s.conn.Version()
	if !ok || s.phase() > open { // one that is about to open stays listed: its next touch does not list it
		return kept, false
	}
	why := notNow
	s.conn.Inspect(func() { kept.State, why = s.describe() })
	switch {
	case why == notNow:
		k.list(s)
		return kept, false
	case why != keepable:
		k.warn(why)
		k.unlist(s, version)
		return kept, false
	}
	kept.session = s
	kept.Version, kept.Number, kept.File, kept.Stream = version, s.conn.FD(), -1, s.stream()
	if known {
		return kept, true
	}
	fd, err := s.conn.Duplicate()
	if err != nil {
		if !errors.Is(err, net.ErrClosed) {
			k.srv.log.Error("session is not kept", "err", err, "user", s.User())
			k.list(s)
		}
		return kept, false
	}
	kept.File = fd
	s.conn.NoteKnown()
	return kept, true
}

// keepability says whether a session can be kept.
type keepability uint8

const (
	keepable keepability = iota
	notNow
	hasLayer
	hasData
	hasContext
	hasNoDescriptor
)

var unkeepable = [...]string{hasLayer: "TLS", hasData: "application data", hasContext: "a compression context", hasNoDescriptor: "a connection without a descriptor, or an endpoint without a path of its own"}

// warn logs the first session that cannot be kept for a reason.
func (k *Keeping) warn(why keepability) {
	if !k.warned[why] {
		k.warned[why] = true
		k.srv.log.Warn("there are sessions that are not kept", "because of", unkeepable[why])
	}
}

// describe returns the state of a session at rest. The caller has the read turn.
func (s *Session) describe() (*handover.State, keepability) {
	srv, state := s.srv(), s.state.Load()
	ep := s.endpoint()
	switch {
	case s.conn.NetConn() != nil:
		return nil, hasNoDescriptor
	case s.layer() != nil:
		return nil, hasLayer
	case ep.Hooks.OnHandOver != nil || s.Data() != nil:
		return nil, hasData
	case phaseOf(state) != open || state&holdBit != 0 || !s.movable() || srv.rated.Waits(s):
		return nil, notNow
	}
	if s.dec.KeepsContext() {
		return nil, hasContext
	}
	if !s.dec.Between() {
		return nil, notNow
	}
	st, ok := s.outline(state)
	if !ok {
		return nil, hasNoDescriptor
	}
	st.Decoder = s.dec.Export()
	st.Conn.ID = s.ID()
	if srv.replay != nil {
		if st.Replay, ok = srv.replay.Describe(receiver{s}); !ok {
			return nil, notNow
		}
	}
	return st, keepable
}
