package attack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync"
	"time"
)

// An Order is what a process of attackers is to do.
type Order struct {
	Attack string         `json:"attack"`
	Addr   netip.AddrPort `json:"addr"`
	API    string         `json:"api"` // host:port
	Count  int            `json:"count"`
	Time   time.Duration  `json:"time"`
}

// An Outcome counts what became of the attackers, in words.
type Outcome map[string]int

// A sign is what the process says: that all attackers are in place, and at the end the outcome.
type sign struct {
	Ready   bool    `json:"ready,omitempty"`
	Outcome Outcome `json:"outcome"` // null: it is not over
}

// Work is the whole life of a process of attackers: it takes an Order from in, says on out how it goes, and
// returns when its time is over, or in ends.
func Work(in, out *os.File) error {
	orders := json.NewDecoder(in)
	var o Order
	if err := orders.Decode(&o); err != nil {
		return fmt.Errorf("attack: order: %w", err)
	}
	a, err := find(o.Attack, false)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), o.Time)
	defer cancel()
	go func() {
		if _, err := in.Read(make([]byte, 1)); errors.Is(err, io.EOF) {
			cancel() // the parent is gone
		}
	}()
	m := &mob{Order: o, ctx: ctx, counts: Outcome{}}
	signs := json.NewEncoder(out)
	var once sync.Once
	m.ready = func() { once.Do(func() { signs.Encode(sign{Ready: true}) }) }
	a.attack(m)
	m.wait.Wait()
	m.ready()
	return signs.Encode(sign{Outcome: m.counts})
}

// A mob is the attackers of one process.
type mob struct {
	Order
	ctx   context.Context // done when the attack is over
	ready func()          // to be called when all are in place
	wait  sync.WaitGroup

	mu     sync.Mutex
	counts Outcome // guarded by mu
}

func (m *mob) count(what string) { m.add(what, 1) }

func (m *mob) add(what string, n int) {
	m.mu.Lock()
	m.counts[what] += n
	m.mu.Unlock()
}

// over tells whether the attack is, or as good as.
func (m *mob) over() bool {
	end, _ := m.ctx.Deadline()
	return m.ctx.Err() != nil || time.Until(end) < 100*time.Millisecond
}

// pause waits, and reports false when the attack is over.
func (m *mob) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-m.ctx.Done():
		return false
	}
}

// each starts Count attackers, at most rate a second, each of which does the same until the attack is over.
// An attacker that is through with it begins again, at the same rate.
func (m *mob) each(rate int, do func(i int)) {
	pace := m.pace(rate)
	first := make(chan struct{}, m.Count)
	for i := range m.Count {
		m.wait.Go(func() {
			for {
				select {
				case <-pace:
				case <-m.ctx.Done():
					return
				}
				select {
				case first <- struct{}{}:
					if len(first) == m.Count {
						m.ready()
					}
				default:
				}
				if m.over() {
					return
				}
				do(i)
			}
		})
	}
}

// pace gives rate permissions a second. Unused ones are lost.
func (m *mob) pace(rate int) <-chan struct{} {
	const portions = 100
	c := make(chan struct{}, max(1, rate/portions))
	m.wait.Go(func() {
		t := time.NewTicker(time.Second / portions)
		defer t.Stop()
		owed := 0
		for {
			for owed += rate; owed >= portions; owed -= portions {
				select {
				case c <- struct{}{}:
				default:
				}
			}
			select {
			case <-t.C:
			case <-m.ctx.Done():
				return
			}
		}
	})
	return c
}
