package keep

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/go-json-experiment/json"

	"fanfare/frame"
	"fanfare/server"
	"fanfare/server/internal/gate"
	"fanfare/server/internal/handover"
	"fanfare/server/internal/limit"
	"fanfare/server/node"
	"fanfare/server/store"
)

// Sessions are sessions at rest that no process serves, because their process has died.
type Sessions struct {
	Started time.Time // of the service: processes share the clock that begins then
	Logger  *slog.Logger

	all      []*resting
	counters handover.Counters
}

// resting is a session that no process serves.
type resting struct {
	held
	id    uint64
	owner *Sessions
}

// Collected says what became of the sessions of a process that has died.
type Collected struct {
	Kept   int // were at rest
	Closed int // were not, and were closed with 1012 or, with a message sent in part, without a close frame
	Lost   int // were not known, because they have TLS, for example
}

// goodbye asks clients to come back within some seconds, as Server.Shutdown does.
var goodbye = frame.AppendClose(nil, frame.StatusServiceRestart, "service restart; retry=5")

// lastGrace is how long clients have to read a close frame.
const lastGrace = time.Second

// Collect takes the sessions of a process that has ended.
func (k *Sessions) Collect(w *Watch) (c Collected) {
	w.wait()
	if w.err != nil {
		k.Logger.Error("what the server tells its keeper is not understood", "err", w.err)
	}
	var ending []int
	for id, h := range w.held {
		switch w.marks.Look(h.number, id, h.version) {
		case server.FoundAtRest:
			k.all = append(k.all, &resting{*h, id, k})
			c.Kept++
		case server.FoundBusy:
			c.Closed++
			if h.stream {
				closeAll([]int{h.fd})
				continue
			}
			sendLast(h.fd, goodbye)
			ending = append(ending, h.fd)
		case server.FoundUnsent:
			c.Closed++
			fallthrough
		default:
			end(h.fd)
		}
	}
	c.Lost = max(w.count-c.Kept-c.Closed, 0)
	unmap(w.marks)
	w.held, w.marks = nil, nil
	k.counters.LastID = max(k.counters.LastID, w.counters.LastID)
	k.counters.LastPing = max(k.counters.LastPing, w.counters.LastPing)
	if len(ending) > 0 {
		time.AfterFunc(lastGrace, func() {
			for _, fd := range ending {
				end(fd)
			}
		})
	}
	return c
}

// Len returns the number of sessions.
func (k *Sessions) Len() int { return len(k.all) }

// Close closes the sessions, with 1012.
func (k *Sessions) Close() {
	for _, s := range k.all {
		if !s.stream {
			sendLast(s.fd, goodbye)
		}
		end(s.fd)
	}
	k.all = nil
}

// HandOver gives the sessions to a new process, which calls Server.TakeOver at the other end of
// conn. Sessions that it cannot serve are closed. After an error the sessions stay that it has
// not confirmed.
func (k *Sessions) HandOver(ctx context.Context, conn *net.UnixConn) (n int, err error) {
	l := handover.NewLink(handover.New(conn), handover.LinkConfig{Executor: noServer{}, Go: func(f func()) { go f() }, Ended: func(*handover.Link) {}})
	go l.Run()
	r, err := handover.Give(ctx, source{k}, l, timing)
	k.forget(func(s *resting) bool { return s.fd < 0 })
	if err != nil {
		return r.Sessions, err
	}
	l.Close() // so that no push waits for the sessions of this process
	k.Close()
	return r.Sessions, nil
}

// timing is generous: nothing waits but the sessions.
var timing = handover.Timing{Answer: 30 * time.Second, Round: 30 * time.Second, First: 1024}

func (k *Sessions) forget(gone func(*resting) bool) {
	left := k.all[:0]
	for _, s := range k.all {
		if !gone(s) {
			left = append(left, s)
		}
	}
	clear(k.all[len(left):])
	k.all = left
}

// tick is the time on the clock of the sessions.
func (k *Sessions) tick() uint32 { return uint32(time.Since(k.Started) / limit.Tick) }

// source is a keeper as package handover sees it.
type source struct{ k *Sessions }

// Counters returns counters above all that the process may have used before it died.
func (s source) Counters() handover.Counters {
	c := s.k.counters
	c.Crashed, c.Tick = true, s.k.tick()
	c.LastID = min(c.LastID+1<<20, 1<<32-1)
	c.LastPing += 1 << 32
	return c
}

func (s source) Sessions() (all []handover.Session) {
	for _, r := range s.k.all {
		if r.fd >= 0 {
			all = append(all, r)
		}
	}
	return all
}

func (source) Busy() bool                                       { return false }
func (source) Freeze(all []handover.Session) []handover.Session { return all }
func (source) StopAccepting() error                             { return nil }
func (source) AcceptAgain()                                     {}
func (source) Lock()                                            {}
func (source) Unlock()                                          {}
func (source) Connect()                                         {}
func (s source) Refused(_ handover.Session, why string) {
	s.k.Logger.Warn("the new process cannot serve a session", "err", why)
}

func (s *resting) ID() uint64      { return s.id }
func (s *resting) WasOpened() bool { return true }

func (s *resting) Duplicate() (int, error) { return duplicate(s.fd) }

// Export returns the state. The heartbeat begins anew.
func (s *resting) Export() (*handover.State, bool) {
	st := new(handover.State)
	if err := json.Unmarshal(s.state, st); err != nil {
		s.owner.Logger.Error("session is not understood", "err", err)
		return nil, false
	}
	st.Heard, st.Pinged = s.owner.tick(), 0
	return st, true
}

func (s *resting) Thaw()                    {}
func (s *resting) TakeBack(*handover.State) {}

// Abandon closes the duplicate: the new process has another one.
func (s *resting) Abandon() {
	closeAll([]int{s.fd})
	s.fd = -1
}

// noServer answers pushes of the new process: the keeper has no sessions that they reach.
type noServer struct{}

var errKeeper = errors.New("keep: a keeper has no store")

func (noServer) Execute(*node.Command) node.Reply { return node.Reply{} }

func (noServer) Begin(store.Box, store.Entry) (func() (gate.Stored, error), error) {
	return nil, fmt.Errorf("%w: nothing is stored", errKeeper)
}

func (noServer) Purge(store.Box) (uint64, error) { return 0, errKeeper }
