package conflate

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"fanfare/netpoll"
)

// model does with one list what the contract says.
type model struct {
	list   []*entry // in the order in which they began to wait; the others anywhere
	budget int
	began  int
	stats  Stats
}

type entry struct {
	session        *session
	name           string
	sent, interval time.Duration
	began          int
	message        string
}

func (e *entry) note(now, interval time.Duration) {
	due := e.sent + interval
	e.sent, e.interval = now, interval
	if now >= due {
		e.sent = max(due, now-tick)
	}
}

func (m *model) cost(s *session) (n int) {
	for _, e := range m.list {
		if e.session == s {
			n += SlotCost + len(e.message)
		}
	}
	return n
}

func (m *model) write(s *session, text string) netpoll.Outcome {
	if o := s.next; o != 0 {
		s.next = 0
		return o
	}
	s.got = append(s.got, text)
	return netpoll.Written
}

func (m *model) offer(s *session, name, text string, interval, now time.Duration) netpoll.Outcome {
	i := slices.IndexFunc(m.list, func(e *entry) bool { return e.session == s && e.name == name })
	if i >= 0 && interval > 0 && now < m.list[i].sent+interval {
		e := m.list[i]
		if s.closed {
			return netpoll.Gone
		}
		if m.cost(s)-len(e.message)+len(text) <= m.budget {
			if e.began == 0 {
				m.began++
				e.began = m.began
			} else {
				m.stats.Replaced++
			}
			e.message, e.interval = text, interval
			return netpoll.Queued
		}
		m.stats.Early++
	}
	o := m.write(s, text)
	if !o.Delivered() {
		return o
	}
	if i < 0 && interval > 0 && !s.closed {
		if m.cost(s)+SlotCost > m.budget {
			m.stats.Early++
		} else {
			m.list = append(m.list, &entry{session: s, name: name, sent: now, interval: interval})
		}
	}
	if i >= 0 {
		e := m.list[i]
		if e.began != 0 {
			m.stats.Replaced++
		}
		e.message, e.began = "", 0
		if interval > 0 {
			e.note(now, interval)
		}
	}
	return o
}

func (m *model) sorted() []*entry {
	slices.SortStableFunc(m.list, func(a, b *entry) int { return a.began - b.began })
	return slices.Clone(m.list)
}

func (m *model) remove(e *entry) {
	m.list = slices.DeleteFunc(m.list, func(x *entry) bool { return x == e })
}

func (m *model) step(now time.Duration) {
	for _, e := range m.sorted() {
		due := e.sent + e.interval
		switch {
		case (due+tick-1)/tick > now/tick: // not yet, rounded up to a tick
		case e.began == 0:
			m.remove(e)
		default:
			if o := m.write(e.session, e.message); !o.Delivered() {
				e.session.failed = append(e.session.failed, o)
			}
			e.message, e.began = "", 0
			e.note(now, e.interval)
		}
	}
}

func (m *model) end(s *session, flush bool) (lost int) {
	for _, e := range m.sorted() {
		if e.session != s {
			continue
		}
		if e.began != 0 && (!flush || !m.write(s, e.message).Delivered()) {
			lost++
		}
		m.remove(e)
	}
	return lost
}

// Random operations, by a clock that stands still, advances by less than a tick, and jumps, have
// the results of the model. After each the slots are consistent.
func TestAgainstModel(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 7))
		m := &model{budget: 3*SlotCost + 40}
		table := newTable(m.budget)
		var real, ideal [5]*session
		for i := range real {
			real[i], ideal[i] = &session{id: uint64(i * 32)}, &session{id: uint64(i)}
		}
		intervals := []time.Duration{0, tick, time.Second / 7, 250 * time.Millisecond, time.Second, 3 * time.Second, time.Hour}
		now := time.Duration(rng.Int64N(int64(time.Hour)))
		for op := range 600 {
			i := rng.IntN(len(real))
			switch rng.IntN(20) {
			case 0:
				real[i].next = []netpoll.Outcome{netpoll.Dropped, netpoll.Full, netpoll.Gone}[rng.IntN(3)]
				ideal[i].next = real[i].next
			case 1:
				got, _ := table.Flush(real[i])
				if want := m.end(ideal[i], true); got != want {
					t.Fatalf("seed %d, op %d: Flush has lost %d, want %d", seed, op, got, want)
				}
			case 2:
				if got, want := table.Drop(real[i]), m.end(ideal[i], false); got != want {
					t.Fatalf("seed %d, op %d: Drop returns %d, want %d", seed, op, got, want)
				}
			case 3:
				real[i].closed = !real[i].closed
				ideal[i].closed = real[i].closed
			case 4, 5, 6, 7, 8:
				if rng.IntN(30) == 0 {
					now += time.Duration(rng.Int64N(int64(20 * time.Second)))
				}
				now += time.Duration(rng.Int64N(int64(3 * tick)))
				table.Step(now)
				m.step(now)
			default:
				now += time.Duration(rng.Int64N(int64(tick / 2)))
				name := fmt.Sprint(rng.IntN(5))
				text := fmt.Sprintf("%s=%d%*s", name, op, rng.IntN(30), "")
				interval := intervals[rng.IntN(len(intervals))]
				got, want := table.offer(real[i], text, interval, now), m.offer(ideal[i], name, text, interval, now)
				if got != want {
					t.Fatalf("seed %d, op %d: Offer returns %v, want %v", seed, op, got, want)
				}
			}
			m.stats.Waiting = 0
			for i := range real {
				waits := false
				for _, e := range m.list {
					if e.session == ideal[i] && e.began != 0 {
						waits = true
						m.stats.Waiting++
					}
				}
				if !slices.Equal(real[i].got, ideal[i].got) || !slices.Equal(real[i].failed, ideal[i].failed) || table.Waits(real[i]) != waits {
					t.Fatalf("seed %d, op %d: session %d got %q %v, want %q %v", seed, op, i, real[i].got, real[i].failed, ideal[i].got, ideal[i].failed)
				}
				if cost := table.cost(t, real[i]); cost != m.cost(ideal[i]) || cost > m.budget {
					t.Fatalf("seed %d, op %d: cost %d, want %d", seed, op, cost, m.cost(ideal[i]))
				}
				real[i].got, ideal[i].got = nil, nil
			}
			if table.Len() != len(m.list) || table.wheel.Armed() != len(m.list) || table.Stats() != m.stats {
				t.Fatalf("seed %d, op %d: %d slots, %d timers, %+v, want %d, %+v", seed, op, table.Len(), table.wheel.Armed(), table.Stats(), len(m.list), m.stats)
			}
		}
	}
}

// cost checks the list of a session, and returns what its slots cost.
func (t *Table[S, M]) cost(tb testing.TB, s S) int {
	sh := t.shard(s)
	own := sh.owners[s]
	if own == nil {
		return 0
	}
	n := 0
	var prev *slot[S, M]
	for sl := own.first; sl != nil; prev, sl = sl, sl.next {
		if sl.prev != prev || sl.owner != own || sh.slots[sl.key] != sl || prev != nil && prev.began != 0 && sl.began <= prev.began {
			tb.Fatal("the list of the slots is inconsistent")
		}
		n += SlotCost
		if sl.began != 0 {
			n += t.cfg.Size(sl.message)
		}
	}
	if own.last != prev || n != own.cost {
		tb.Fatalf("cost %d of slots that cost %d", own.cost, n)
	}
	return n
}
