package registry

import (
	"math/rand/v2"
	"testing"
	"time"
)

// model does with maps what the contract of Wheel says.
type model struct {
	now  int64              // tick of the last Advance
	run  int                // number of Advances
	due  map[*session]int64 // armed timers and their ticks
	late map[*session]int   // armed timers that were due when scheduled, with the value of run then
}

func (m *model) schedule(s *session, due time.Duration) (moved bool) {
	_, moved = m.due[s]
	at := int64(due+tick-1) / int64(tick)
	m.due[s] = at
	delete(m.late, s)
	if at <= m.now {
		m.late[s] = m.run
	}
	return moved
}

func (m *model) stop(s *session) bool {
	_, armed := m.due[s]
	delete(m.due, s)
	delete(m.late, s)
	return armed
}

// mustFire reports whether an armed timer must fire in the Advance that is running.
func (m *model) mustFire(s *session) bool {
	if run, late := m.late[s]; late {
		return run < m.run
	}
	return m.due[s] <= m.now
}

// compareWithModel runs the operations that data encodes on a wheel and on the model.
func compareWithModel(t *testing.T, data []byte) {
	w := newWheel(tick, 8)
	m := &model{due: map[*session]int64{}, late: map[*session]int{}}
	all := make([]*session, 24)
	for i := range all {
		all[i] = &session{id: i}
	}
	next := func() int {
		if len(data) == 0 {
			return 0
		}
		b := data[0]
		data = data[1:]
		return int(b)
	}
	var now time.Duration
	change := func() {
		s := all[next()%len(all)]
		if next()%4 == 0 {
			if got, want := w.Stop(s), m.stop(s); got != want {
				t.Fatalf("Stop(%d) = %v, want %v", s.id, got, want)
			}
			return
		}
		// From 2 ticks ago to 3 revolutions ahead, in fifths of a tick.
		due := max(0, now+time.Duration(next()%140-10)*tick/5)
		if got, want := w.Schedule(s, due), m.schedule(s, due); got != want {
			t.Fatalf("Schedule(%d) = %v, want %v", s.id, got, want)
		}
	}
	for len(data) > 0 {
		switch op := next(); {
		case op < 160:
			change()
		default:
			now += time.Duration(op-160) * tick / 5 // up to 2.4 revolutions
			m.now = int64(now / tick)
			m.run++
			w.Advance(now, func(s *session) {
				if _, armed := m.due[s]; !armed || !m.mustFire(s) {
					t.Fatalf("%d fires at tick %d; armed %v, due at tick %d", s.id, m.now, armed, m.due[s])
				}
				m.stop(s)
				for range next() % 4 {
					change()
				}
			})
			for s := range m.due {
				if m.mustFire(s) {
					t.Fatalf("%d did not fire at tick %d, due at tick %d", s.id, m.now, m.due[s])
				}
			}
		}
		if got := w.check(t); got != len(m.due) {
			t.Fatalf("%d armed, want %d", got, len(m.due))
		}
	}
}

func TestWheelAgainstModel(t *testing.T) {
	withoutRace(t)
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 11))
		data := make([]byte, 4000)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		compareWithModel(t, data)
	}
}

func FuzzWheel(f *testing.F) {
	f.Add([]byte{0, 1, 1, 10, 200, 0})
	f.Add([]byte{0, 1, 1, 100, 0, 2, 1, 50, 255, 3, 1, 1, 0, 2, 0, 161})
	f.Fuzz(func(t *testing.T, data []byte) { compareWithModel(t, data) })
}
