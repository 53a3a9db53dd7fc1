package attack

import (
	"context"
	"fmt"
	"time"
)

// An Attack is one way to harm a server, and what the server must do about it.
type Attack struct {
	Name string
	Load string // in words

	count    int                                 // of attackers
	attack   func(m *attackers)                  // in the process of the attackers
	harmless func(m *attackers)                  // the same load on the twin without the harm; nil: the attack is all load there is
	flags    []string                            // of the server
	environ  []string                            // of the server
	files    int                                 // the server's descriptor limit; 0: that of this process
	api      int                                 // connections to the API; 0: as many as healthy clients need
	loopback bool                                // the server listens on loopback only, and so has no rate limit for /echo
	own      bool                                // the attackers have a network namespace of their own
	load     func(ctx context.Context, c *side)  // further load on a server, before the attack as well
	beside   func(ctx context.Context, t *trial) // in this process, once all attackers have started
	least    time.Duration                       // how long it takes at least
	memory   int64                               // how many bytes the server's memory may grow by

	need     Outcome        // how often attackers must come to an end, at least
	most     Outcome        // and at most
	counters []string       // metrics of the server that must have grown
	check    func(t *trial) // everything else that must hold afterwards
}

const (
	kib = 1 << 10
	mib = 1 << 20
)

// baseMemory is what the server may use under any attack: read buffers of workers, pending handshakes, garbage.
const baseMemory = 48 * mib

// limited is the counter of what a limit of the server rejected.
func limited(by string) string { return fmt.Sprintf("fanfare_limited_total{limit=%q}", by) }

// Interval and timeout of the heartbeats that have to detect half-open peers.
const (
	interval = 2 * time.Second
	timeout  = time.Second
)

// Find returns the attacks with these names, or all of them without names. The short forms have fewer
// attackers.
func Find(names []string, short bool) (found []Attack, err error) {
	for _, name := range names {
		a, err := find(name, short)
		if err != nil {
			return nil, err
		}
		found = append(found, a)
	}
	if len(names) == 0 {
		found = All(short)
	}
	return found, nil
}

func find(name string, short bool) (Attack, error) {
	for _, a := range All(short) {
		if a.Name == name {
			return a, nil
		}
	}
	return Attack{}, fmt.Errorf("attack: unknown attack %q", name)
}
