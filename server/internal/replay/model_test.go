package replay

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"fanfare/server/store"
)

// The model runs a service, a store, sessions and their clients in one goroutine by
// a schedule, the choices of a tape. Whenever the service asks the store, and before
// and after the store has answered, other events may happen: so every interleaving
// that locks allow can come up. After every step, and at the end when everything is
// delivered, it must hold that
//
//   - a position is stored only when clients of the user have read all up to there;
//   - a session gets the messages of a box in order and without an unannounced gap,
//     and none of its inbox that was acknowledged before, unless the clock of the store
//     cannot tell, or the notice of such a message came late;
//   - a message that was deleted for a caller is not written afterwards;
//   - nothing of a topic is written before its subscribe or after its unsubscribe;
//   - a hello precedes everything else, live messages keep their order, and those
//     that were held are written or dropped once each;
//   - at most a window is in flight, and replay alone never fills a queue;
//   - a session that rewinds in a topic gets the last messages, and of those that were stored
//     before it subscribed no more, unless it counted as a receiver of them;
//   - an open session gets all that is stored from then on, whatever other devices of
//     the user acknowledge meanwhile, and all that it was counted for as a receiver;
//   - every open session gets everything, and no state stays when all are gone.

// modelSession is a session with its client.
type modelSession struct {
	*receiver
	m      *model
	stage  int // made, listed, attached, open, ended, detached
	topics map[string]bool

	// Messages that were written, by box.
	at      map[store.Box]Begin // the last offset and its epoch
	flight  []*wire             // stored frames since the last pong, and pings
	wrong   bool                // its pongs are wrong
	hello   bool
	acked   uint64          // the user's position in the inbox when the session was attached
	epochs  int             // of the store, then
	got     map[string]bool // ids of stored messages
	owed    []owed          // messages that were stored while the session was open, or counted it as a receiver
	resumed map[store.Box]Start
	wanted  map[store.Box]wanted
	given   []string // live messages that were pushed, in order
	written []string

	// Messages that the client has read.
	pongs []string
	acks  []Message
}

// wanted says when a session subscribed to a topic.
type wanted struct {
	at     time.Time
	epochs int // of the store, then
}

// modelNotice is a notice that is under way.
type modelNotice struct {
	*Notice
	id string
}

// owed is a message that a session must get.
type owed struct {
	box    store.Box
	offset uint64
	id     string
}

const (
	made = iota
	listed
	attached
	running
	ended
	detached
)

type model struct {
	*rig
	tape     *tape
	log      []string
	depth    int
	quiet    bool // no more events at the store
	sessions []*modelSession
	notices  []modelNotice
	resume   map[store.Box]Start // of the user's explicit client
	ids      int
	lives    int
	read     map[string]map[string]bool // by user, the messages that clients have read
	evicted  map[uint64]bool            // by offset, what a backup may bring back
	deleted  map[uint64]bool            // of those, what was deleted for a caller
	world    world
}

// world is which events there are.
type world uint8

const (
	// large has all events.
	large world = iota
	// small has a session that is not attached, and few kinds of events.
	small
	// devices has two open sessions of one user, and no events at the store.
	devices
)

var (
	modelUsers  = []string{"alice", "bob"}
	modelTopics = []string{"news", "sports"}
)

func newModel(t testing.TB, choices *tape, w world) *model {
	m := &model{tape: choices, world: w, resume: make(map[store.Box]Start), read: make(map[string]map[string]bool), evicted: make(map[uint64]bool), deleted: make(map[uint64]bool)}
	m.rig = newRig(t, func(c *Config) {
		c.Window = 400
		c.Settle = 3 * tickInterval
		c.Receivers = func(yield func(Receiver) bool) {
			for _, s := range m.sessions {
				if s.phase == Open && !yield(s.receiver) {
					return
				}
			}
		}
		if choices.next(2) == 1 {
			c.Sync = func(_ context.Context, b store.Box) error { return m.store.do("sync", func() {}) }
		}
	})
	if w == large && choices.next(4) == 3 {
		m.store.skew = 4 * tickInterval
	}
	m.store.hook = m.meanwhile
	m.store.acking = m.acking
	for _, u := range modelUsers {
		m.read[u] = make(map[string]bool)
	}
	return m
}

func (m *model) note(format string, args ...any) {
	m.log = append(m.log, strings.Repeat("  ", m.depth)+fmt.Sprintf(format, args...))
}

// meanwhile lets something happen while the store is asked.
func (m *model) meanwhile(op string) {
	if m.quiet || m.world == devices || m.depth >= 3 || m.tape.done() {
		return
	}
	m.depth++
	for m.tape.next(3) == 1 && !m.tape.done() {
		m.note("(%s)", op)
		m.event()
	}
	m.depth--
}

// detail is next for what other worlds than the large one leave out.
func (m *model) detail(n int) int {
	if m.world != large {
		return 0
	}
	return m.tape.next(n)
}

func (m *model) pick(ok func(*modelSession) bool) *modelSession {
	var l []*modelSession
	for _, s := range m.sessions {
		if ok(s) {
			l = append(l, s)
		}
	}
	if len(l) == 0 {
		return nil
	}
	return l[m.tape.next(len(l))]
}

func (m *model) pickStage(from, to int) *modelSession {
	return m.pick(func(s *modelSession) bool { return s.stage >= from && s.stage <= to })
}

// runModel runs one schedule, and returns what went wrong.
func runModel(t testing.TB, choices *tape, w world) (wrong string, log []string) {
	m := newModel(t, choices, w)
	defer func() {
		switch p := recover().(type) {
		case nil:
		case fault:
			wrong, log = string(p), m.log
		default:
			wrong, log = fmt.Sprintf("%v\n%s", p, debug.Stack()), m.log
		}
	}()
	switch w {
	case small:
		m.connect()
	case devices:
		m.openSession()
		m.openSession()
		m.work()
	}
	for !choices.done() {
		m.event()
	}
	m.settle()
	return "", nil
}

func reportModel(t *testing.T, name string, choices []int, w world) {
	t.Helper()
	short := shrink(choices, func(try []int) bool {
		wrong, _ := runModel(t, &tape{choices: try}, w)
		return wrong != ""
	})
	wrong, log := runModel(t, &tape{choices: short}, w)
	t.Fatalf("%s: %s\nchoices %v, %d steps:\n%s", name, wrong, short, len(log), strings.Join(log, "\n"))
}

// allSchedules says that FANFARE_SCHEDULES is set, as in make soak: the tests then run ten times as many schedules, and
// deeper ones.
var allSchedules = os.Getenv("FANFARE_SCHEDULES") != ""

// withoutRace leaves a test to the pass without the race detector, which would take ten times as long.
func withoutRace(t *testing.T) {
	t.Helper()
	if raceEnabled {
		t.Skip("one goroutine: there is nothing for the race detector to find")
	}
}

// TestRandomSchedules runs thousands of schedules of a few hundred choices.
func TestRandomSchedules(t *testing.T) {
	withoutRace(t)
	n := uint64(1000)
	if allSchedules {
		n = 10_000
	}
	for seed := range n {
		choices := randomTape(seed, 60+int(seed%5)*120)
		if wrong, _ := runModel(t, &tape{choices: choices.choices}, large); wrong != "" {
			reportModel(t, fmt.Sprint("seed ", seed), choices.choices, large)
		}
	}
}

// TestEverySchedule runs every schedule of the other worlds up to a depth.
func TestEverySchedule(t *testing.T) {
	withoutRace(t)
	for _, test := range []struct {
		name       string
		world      world
		depth, all int
	}{
		{"small", small, 5, 6},
		{"devices", devices, 6, 8},
	} {
		t.Run(test.name, func(t *testing.T) {
			depth := test.depth
			if allSchedules {
				depth = test.all
			}
			n := every(depth, func(choices *tape) {
				if wrong, _ := runModel(t, choices, test.world); wrong != "" {
					reportModel(t, test.name+" world", choices.choices, test.world)
				}
			})
			t.Logf("%d schedules", n)
		})
	}
}
