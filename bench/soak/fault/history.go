package fault

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// history is what was pushed, what of that was accepted, and what each device
// received in which order. It judges at the end.
type history struct {
	mu      sync.Mutex
	users   map[string]*pushes
	devices []*device
}

// pushes to one user. Messages are numbered from 1.
type pushes struct {
	tried    map[int]bool
	accepted map[int]uint64 // offsets
}

// device is one client of a user, over all of its connections.
type device struct {
	user, name string
	// all says that it resumes where it was itself, so that everything must come
	// to it; others get what no device of the user has read.
	all bool

	h        *history
	receipts []receipt
}

type receipt struct {
	text   string
	offset uint64 // 0: the client was not told
	gap    bool   // it was told that something is missing before it
	at     time.Time
}

func newHistory() *history { return &history{users: make(map[string]*pushes)} }

func (h *history) of(user string) *pushes {
	p := h.users[user]
	if p == nil {
		p = &pushes{make(map[int]bool), make(map[int]uint64)}
		h.users[user] = p
	}
	return p
}

// text of a message: for whom it is, and its number.
func text(user string, n int) string { return user + " " + strconv.Itoa(n) }

// try notes that a message is about to be pushed. It may arrive from now on.
func (h *history) try(user string, n int) {
	h.mu.Lock()
	h.of(user).tried[n] = true
	h.mu.Unlock()
}

// accept notes that it was stored at an offset. It must arrive.
func (h *history) accept(user string, n int, offset uint64) {
	h.mu.Lock()
	h.of(user).accepted[n] = offset
	h.mu.Unlock()
}

func (h *history) device(user, name string, all bool) *device {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := &device{user: user, name: name, all: all, h: h}
	h.devices = append(h.devices, d)
	return d
}

func (d *device) receive(r receipt) {
	r.at = time.Now()
	d.h.mu.Lock()
	d.receipts = append(d.receipts, r)
	d.h.mu.Unlock()
}

// Verdict is what a history comes to. Everything after Doubles is wrong.
type Verdict struct {
	Accepted int `json:"accepted"` // pushes that were answered 200
	Unknown  int `json:"unknown"`  // and those that never were: they may have been stored
	Received int `json:"received"` // messages, all devices together
	Doubles  int `json:"doubles"`  // of those, the ones that a device had already

	Lost      []string `json:"lost,omitempty"`      // accepted and not received
	Reordered []string `json:"reordered,omitempty"` // after dropping doubles
	Foreign   []string `json:"foreign,omitempty"`   // not for this user, or never pushed
	Gaps      []string `json:"gaps,omitempty"`      // told to a client though nothing can be missing
	Offsets   []string `json:"offsets,omitempty"`   // one message with two, or not in the order of the pushes
}

// Err is nil if nothing is wrong.
func (v *Verdict) Err() error {
	var wrong []string
	for _, kind := range []struct {
		name string
		all  []string
	}{{"lost", v.Lost}, {"out of order", v.Reordered}, {"foreign", v.Foreign}, {"false gaps", v.Gaps}, {"wrong offsets", v.Offsets}} {
		if len(kind.all) > 0 {
			wrong = append(wrong, fmt.Sprintf("%d %s: %s", len(kind.all), kind.name, strings.Join(kind.all[:min(len(kind.all), 8)], "; ")))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("fault: %s", strings.Join(wrong, "\n  "))
}

// check judges.
func (h *history) check() *Verdict {
	h.mu.Lock()
	defer h.mu.Unlock()
	v := new(Verdict)
	had := make(map[string]map[int]bool) // by user, on any device
	for _, d := range h.devices {
		if had[d.user] == nil {
			had[d.user] = make(map[int]bool)
		}
		seen := d.check(v, h.of(d.user))
		maps.Copy(had[d.user], seen)
		if d.all {
			h.lost(v, d.user, d.name, seen)
		}
	}
	for _, user := range slices.Sorted(maps.Keys(h.users)) {
		p := h.users[user]
		v.Accepted += len(p.accepted)
		v.Unknown += len(p.tried) - len(p.accepted)
		h.lost(v, user, "any device", had[user])
		last := uint64(0)
		for _, n := range slices.Sorted(maps.Keys(p.accepted)) {
			if p.accepted[n] <= last {
				v.Offsets = append(v.Offsets, fmt.Sprintf("%q is at %d, behind one at %d", text(user, n), p.accepted[n], last))
			}
			last = p.accepted[n]
		}
	}
	return v
}

// lost notes what was accepted and is not among those that were seen.
func (h *history) lost(v *Verdict, user, where string, seen map[int]bool) {
	accepted := h.users[user].accepted
	for _, n := range slices.Sorted(maps.Keys(accepted)) {
		if !seen[n] {
			v.Lost = append(v.Lost, fmt.Sprintf("%q at %d, on %s", text(user, n), accepted[n], where))
		}
	}
}

// check judges what one device received, and returns what that was.
func (d *device) check(v *Verdict, p *pushes) (seen map[int]bool) {
	seen = make(map[int]bool)
	offsets := make(map[int]uint64)
	last := 0
	for _, r := range d.receipts {
		if r.gap {
			v.Gaps = append(v.Gaps, fmt.Sprintf("%s before %q at %d", d.name, r.text, r.offset))
		}
		if r.text == "" {
			continue // a hello
		}
		v.Received++
		user, number, _ := strings.Cut(r.text, " ")
		n, err := strconv.Atoi(number)
		if user != d.user || err != nil || !p.tried[n] {
			v.Foreign = append(v.Foreign, fmt.Sprintf("%q on %s", r.text, d.name))
			continue
		}
		if r.offset > 0 {
			for _, other := range []uint64{p.accepted[n], offsets[n]} {
				if other > 0 && other != r.offset {
					v.Offsets = append(v.Offsets, fmt.Sprintf("%q is at %d and at %d", r.text, other, r.offset))
					break
				}
			}
			offsets[n] = r.offset
		}
		if seen[n] {
			v.Doubles++
			continue
		}
		seen[n] = true
		// Numbers are stored in order: each push waits until the one before it was
		// accepted or given up, and what was given up ends the user's pushes.
		if n < last {
			v.Reordered = append(v.Reordered, fmt.Sprintf("%q after %d on %s", r.text, last, d.name))
		}
		last = max(last, n)
	}
	return seen
}

// dump writes what happened to a file, for whoever wants to know why.
func (h *history) dump(file string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var b strings.Builder
	for _, user := range slices.Sorted(maps.Keys(h.users)) {
		p := h.users[user]
		for n := 1; p.tried[n]; n++ {
			fmt.Fprintf(&b, "push %q: %d\n", text(user, n), p.accepted[n])
		}
	}
	for _, d := range h.devices {
		for _, r := range d.receipts {
			fmt.Fprintf(&b, "%s receive %s %q at %d gap %v\n", r.at.Format("05.000"), d.name, r.text, r.offset, r.gap)
		}
	}
	os.WriteFile(file, []byte(b.String()), 0o600)
}
