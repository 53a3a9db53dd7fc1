package presence

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// world is a model of a cluster: nodes that are killed, cut off, stopped and started again,
// a network that delays and loses messages, a log, and users who come and go.
type world struct {
	rand *rand.Rand
	loss int // of 100 messages
	// repaired: the log does not fail any more, except for a node that was replaced.
	repaired bool
	grace    time.Duration
	now      time.Duration
	nodes    []*modelNode
	ids      byte
	log      []logged
	calls    []call // of the network and the log, not ordered
	users    []Name
	story    []string
	// history[user] has for each step the node that the user had a session on; -1: none that
	// has been alive and connected for a while.
	history map[Name][]bool
}

const modelStep = 10 * time.Millisecond

// known is how long a node must be able to talk to the others until what it holds must be
// known, also if the network loses 20 of 100 messages.
const known = 6 * time.Second

type modelNode struct {
	*Node
	alive, connected, stopped bool
	deaf                      bool          // receives nothing
	since                     time.Duration // alive and connected and running
	offset                    time.Duration // of its clock
	next                      time.Duration // Tick
	sessions                  map[Name]int
	sequence                  int  // of the log, as the leader knows it
	writing                   bool // a call for the log is under way
	waiting                   []func()
}

// logged is a line of the log: a change, or that a node was elected.
type logged struct {
	Change
	at time.Duration
}

type call struct {
	at time.Duration
	f  func()
}

func (w *world) tell(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf("%8v ", w.now)+fmt.Sprintf(format, args...))
}

func (w *world) start(m *modelNode) {
	w.ids++
	*m = modelNode{Node: New(ID{byte(w.rand.IntN(256)), w.ids}, w.grace), alive: true, connected: true, since: w.now,
		next: w.now, offset: -w.now, sessions: make(map[Name]int)}
}

// after calls f later, unless the node has ended; a stopped node waits.
func (w *world) after(m *modelNode, most time.Duration, f func()) {
	node := m.Node
	var run func()
	run = func() {
		if m.Node != node || !m.alive {
			return
		}
		if m.stopped {
			m.waiting = append(m.waiting, run)
			return
		}
		f()
		w.take(m)
	}
	w.calls = append(w.calls, call{w.now + time.Duration(w.rand.Int64N(int64(most))), run})
}

func (w *world) present() (names []Name) {
	is := make(map[Name]bool)
	for _, l := range w.log {
		if l.Name != "" {
			is[l.Name] = l.Present
		}
	}
	for name, p := range is {
		if p {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// take does what a node wants to be done.
func (w *world) take(m *modelNode) {
	e := m.Take()
	for _, o := range e.Send {
		if !m.connected || w.rand.IntN(100) < w.loss {
			continue
		}
		b := o.Encode()
		from := m.id
		for _, to := range w.nodes {
			if to == m || !to.alive || o.To != (ID{}) && o.To != to.id {
				continue
			}
			w.after(to, 60*time.Millisecond, func() {
				got, err := Decode(b)
				if err != nil {
					panic(err)
				}
				if to.connected && !to.deaf {
					to.Receive(from, &got)
				}
			})
		}
	}
	if e.Elect {
		expected := len(w.log)
		w.after(m, 200*time.Millisecond, func() {
			if !m.connected || m.deaf || len(w.log) != expected {
				m.Rejected()
				return
			}
			present := w.present()
			w.log = append(w.log, logged{at: w.now})
			m.sequence = len(w.log)
			w.tell("%v elected, term %d", m.id, m.sequence)
			term := uint64(m.sequence)
			for _, to := range w.nodes {
				if to != m && to.alive && to.connected && !to.deaf && w.rand.IntN(2) == 0 {
					w.after(to, 60*time.Millisecond, func() { to.Receive(m.id, &Message{Kind: Lead, Term: term}) })
				}
			}
			w.after(m, 100*time.Millisecond, func() { m.Elected(term, present) })
		})
	}
	if len(e.Write) > 0 {
		term, expected := m.Term(), m.sequence
		if term == 0 {
			panic("a node writes that does not lead")
		}
		m.writing = true
		w.after(m, 60*time.Millisecond, func() {
			m.writing = false
			ok := m.connected && !m.deaf && len(w.log) == expected && (term != m.Term() || w.repaired || w.rand.IntN(40) > 0)
			if len(w.log) == expected && m.connected {
				part := e.Write
				if !ok {
					part = part[:w.rand.IntN(len(part)+1)]
				}
				for _, c := range part {
					w.log = append(w.log, logged{c, w.now})
					w.tell("%v reports %s %v", m.id, c.Name, c.Present)
				}
				m.sequence = len(w.log)
			}
			m.Written(term, ok)
		})
	}
}

func (w *world) step() {
	w.now += modelStep
	due := w.calls
	w.calls = nil
	for _, c := range due {
		if c.at > w.now {
			w.calls = append(w.calls, c)
		} else {
			c.f()
		}
	}
	for _, m := range w.nodes {
		if m.alive && !m.stopped && w.now >= m.next {
			m.next = w.now + TickEvery
			m.Tick(w.now+m.offset, time.Unix(0, 0).Add(w.now), m.connected && !m.deaf)
			w.renew(m)
			w.take(m)
		}
	}
	for _, u := range w.users {
		seen := false
		for _, m := range w.nodes {
			if m.alive && m.connected && !m.stopped && !m.deaf && w.now-m.since > known && m.sessions[u] > 0 {
				seen = true
			}
		}
		w.history[u] = append(w.history[u], seen)
	}
}

// renew has a leader write to the log now and then, so that it notices that it was replaced.
func (w *world) renew(m *modelNode) {
	term := m.Term()
	if term == 0 || w.rand.IntN(8) > 0 {
		return
	}
	w.after(m, 60*time.Millisecond, func() {
		if !m.connected || m.deaf || m.Term() != term || m.writing {
			return
		}
		if len(w.log) != m.sequence {
			m.Written(term, false)
			return
		}
		w.log = append(w.log, logged{at: w.now})
		m.sequence = len(w.log)
	})
}

func (w *world) session(m *modelNode, u Name, delta int) {
	m.sessions[u] += delta
	m.Hold(u, m.sessions[u] > 0)
	w.take(m)
}

func (w *world) someone() (*modelNode, Name) {
	return w.nodes[w.rand.IntN(len(w.nodes))], w.users[w.rand.IntN(len(w.users))]
}

// event lets something happen.
func (w *world) event() {
	m, u := w.someone()
	if !m.alive {
		if w.rand.IntN(4) == 0 {
			w.start(m)
			w.tell("node %v starts", m.id)
		}
		return
	}
	if m.stopped {
		if w.rand.IntN(4) == 0 {
			w.tell("%v continues", m.id)
			m.stopped, m.since = false, w.now
			for _, f := range m.waiting {
				w.calls = append(w.calls, call{w.now, f})
			}
			m.waiting = nil
		}
		return
	}
	switch w.rand.IntN(26) {
	default:
		w.session(m, u, 1)
		w.tell("%s opens at %v", u, m.id)
	case 8, 9, 10, 11, 12, 13:
		if m.sessions[u] > 0 {
			w.tell("%s closes at %v", u, m.id)
			w.session(m, u, -1)
		}
	case 14, 15, 16, 17:
		other, _ := w.someone()
		if m.sessions[u] > 0 && other.alive && !other.stopped {
			w.tell("%s moves from %v to %v", u, m.id, other.id)
			w.session(m, u, -1)
			w.session(other, u, 1)
		}
	case 18:
		w.tell("%v is killed", m.id)
		m.alive = false
	case 19:
		w.tell("%v is cut off, or reconnects", m.id)
		m.connected, m.since = !m.connected, w.now
	case 20:
		w.tell("%v is stopped", m.id)
		m.stopped = true
	case 21:
		m.offset += time.Duration(w.rand.Int64N(int64(time.Hour))) - 30*time.Minute
		w.tell("the clock of %v jumps", m.id)
	case 22:
		if w.rand.IntN(3) == 0 {
			w.tell("all nodes are killed")
			for _, m := range w.nodes {
				m.alive = false
			}
		}
	case 24:
		w.tell("%v is deaf, or is not any more", m.id)
		m.deaf, m.since = !m.deaf, w.now
	case 25:
		if w.rand.IntN(3) == 0 {
			w.tell("NATS is away, or comes back")
			for _, m := range w.nodes {
				m.connected, m.since = !m.connected, w.now
			}
		}
	case 23:
		w.tell("%v leaves", m.id)
		m.Leave()
		w.take(m)
		m.alive = false
	}
}

func runWorld(seed uint64) *world {
	w := &world{rand: rand.New(rand.NewPCG(seed, 1)), history: make(map[Name][]bool)}
	w.loss = []int{0, 2, 20}[w.rand.IntN(3)]
	w.grace = []time.Duration{0, time.Second, 10 * time.Second}[w.rand.IntN(3)]
	for i := range 1 + w.rand.IntN(4) {
		w.users = append(w.users, NameOf([]Kind{User, User, Topic}[w.rand.IntN(3)], strconv.Itoa(i)))
	}
	for range 1 + w.rand.IntN(4) {
		m := new(modelNode)
		w.start(m)
		w.nodes = append(w.nodes, m)
	}
	events := 5 + w.rand.IntN(40)
	for range events {
		for range w.rand.IntN(300) * w.rand.IntN(3) {
			w.step()
		}
		w.event()
	}
	w.tell("everything is repaired")
	w.repaired = true
	for _, m := range w.nodes {
		if !m.alive {
			w.start(m)
		}
		if !m.connected || m.deaf || m.stopped {
			m.connected, m.deaf, m.stopped, m.since = true, false, false, w.now
		}
		for _, f := range m.waiting {
			w.calls = append(w.calls, call{w.now, f})
		}
		m.waiting = nil
	}
	for range int((20*time.Second + w.grace) / modelStep) {
		w.step()
	}
	return w
}

func TestModel(t *testing.T) {
	seeds := uint64(200)
	if text := os.Getenv("PRESENCE_SEEDS"); text != "" {
		seeds, _ = strconv.ParseUint(text, 10, 64)
	}
	reports, terms := 0, 0
	for seed := range seeds {
		w := runWorld(seed)
		if err := w.check(); err != nil {
			t.Fatalf("seed %d, grace %v: %v\n%s", seed, w.grace, err, strings.Join(w.story, "\n"))
		}
		for _, l := range w.log {
			if l.Name == "" {
				terms++
			} else {
				reports++
			}
		}
	}
	if reports < int(seeds) || terms < int(seeds) {
		t.Errorf("%d reports, %d elections and renewals in %d runs: the model does too little", reports, terms, seeds)
	}
	t.Logf("%d runs: %d reports, %d elections and renewals", seeds, reports, terms)
}
