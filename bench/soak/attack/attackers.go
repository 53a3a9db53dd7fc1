package attack

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"
)

// An Order tells a process of attackers what to do. The attack ends when the parent closes the process's input.
type Order struct {
	Attack string         `json:"attack"`
	Addr   netip.AddrPort `json:"addr"`
	API    string         `json:"api"` // host:port
	Count  int            `json:"count"`
	// Harmless asks for the load without the harm.
	Harmless bool `json:"harmless,omitempty"`
	// Need is what has to be counted before the attack is worth ending.
	Need Outcome `json:"need"`
}

// An Outcome counts the ends that attackers came to: "opened", "closed 1008", "rejected 503, Retry-After".
type Outcome map[string]int

// has reports whether o counts at least what need does.
func (o Outcome) has(need Outcome) bool {
	for what, n := range need {
		if o[what] < n {
			return false
		}
	}
	return true
}

// A signal is what the process reports: that all attackers have started, that what the Order needs has been counted,
// and at the end the outcome.
type signal struct {
	Ready   bool    `json:"ready,omitempty"`
	Enough  bool    `json:"enough,omitempty"`
	Outcome Outcome `json:"outcome"` // null until the end
}

// Work runs a process of attackers: it reads an Order from in, writes signals to out, and returns
// when in ends.
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
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		in.Read(make([]byte, 1)) // returns when the parent closes the pipe, or ends
		cancel()
	}()
	m := &attackers{Order: o, ctx: ctx, counts: Outcome{}, signals: json.NewEncoder(out)}
	if o.Harmless {
		a.harmless(m)
	} else {
		a.attack(m)
	}
	m.wait.Wait()
	return m.signals.Encode(signal{Outcome: m.counts})
}

// attackers are the attackers of one process.
type attackers struct {
	Order
	ctx  context.Context // done when the attack is over
	wait sync.WaitGroup

	mu      sync.Mutex
	counts  Outcome       // guarded by mu
	started int           // attackers that have started; guarded by mu
	ready   bool          // reported; guarded by mu
	enough  bool          // reported; guarded by mu
	signals *json.Encoder // guarded by mu until wait is done; nil: no parent
}

func (m *attackers) count(what string) { m.add(what, 1) }

func (m *attackers) add(what string, n int) {
	m.mu.Lock()
	m.counts[what] += n
	m.report()
	m.mu.Unlock()
}

// start counts an attacker that starts for the first time.
func (m *attackers) start() {
	m.mu.Lock()
	m.started++
	m.report()
	m.mu.Unlock()
}

// report writes the signals that are due. It is called with mu held.
func (m *attackers) report() {
	if m.signals == nil {
		return
	}
	if !m.ready && m.started >= m.Count {
		m.ready = true
		m.signals.Encode(signal{Ready: true})
	}
	if m.ready && !m.enough && m.counts.has(m.Need) {
		m.enough = true
		m.signals.Encode(signal{Enough: true})
	}
}

// over reports whether the attack is.
func (m *attackers) over() bool { return m.ctx.Err() != nil }

// pause waits, and reports false when the attack is over.
func (m *attackers) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-m.ctx.Done():
		return false
	}
}

// each starts Count attackers, at most rate a second, each of which runs do. An attacker whose do returns runs it
// again, at the same rate, until the attack is over.
func (m *attackers) each(rate int, do func(i int)) {
	pace := m.pace(rate)
	for i := range m.Count {
		m.wait.Go(func() {
			for first := true; ; first = false {
				select {
				case <-pace:
				case <-m.ctx.Done():
					return
				}
				if first {
					m.start()
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
func (m *attackers) pace(rate int) <-chan struct{} {
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
