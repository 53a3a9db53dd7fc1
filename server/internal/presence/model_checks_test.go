package presence

import (
	"fmt"
	"slices"
	"time"
)

// check returns what is wrong with the log.
func (w *world) check() error {
	last := make(map[Name]bool)
	for _, l := range w.log {
		if l.Name == "" {
			continue
		}
		if last[l.Name] == l.Present {
			return fmt.Errorf("%v: %s %v is reported twice", l.at, l.Name, l.Present)
		}
		last[l.Name] = l.Present
		if !l.Present {
			if err := w.cause(l); err != nil {
				return err
			}
		}
	}
	for _, u := range w.users {
		truth := false
		for _, m := range w.nodes {
			truth = truth || m.sessions[u] > 0
		}
		if last[u] != truth {
			return fmt.Errorf("%s is reported as %v at last: want %v", u, last[u], truth)
		}
	}
	return nil
}

// cause checks that a name that is reported as absent was absent for its grace period. What
// has happened within the last second may be unknown. Each jump of the leader's clock takes up
// to MaxStep-TickEvery off the period, together less than a second.
func (w *world) cause(l logged) error {
	grace := w.grace
	if l.Name.Kind() == Topic {
		grace = 0
	}
	h := w.history[l.Name]
	end := int((l.at - time.Second) / modelStep)
	for i := max(end-int(grace/modelStep)+2*int(time.Second/modelStep), 0); i < end; i++ {
		if h[i] {
			return fmt.Errorf("%v: %s is reported as absent, but was present at %v", l.at, l.Name, time.Duration(i)*modelStep)
		}
	}
	if end > 0 && grace == 0 && !slices.Contains(h[end:min(len(h), end+int(time.Second/modelStep))], false) {
		return fmt.Errorf("%v: %s is reported as absent, but was present", l.at, l.Name)
	}
	return nil
}
