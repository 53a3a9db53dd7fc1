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

// history records what was pushed, what was accepted, and what each device received
// in which order. check finds the violations.
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
	// all means that the device resumes from its own offset, so it must receive
	// every message; other devices receive what no device of the user has read.
	all bool

	h        *history
	receipts []receipt
}

type receipt struct {
	text   string
	offset uint64 // 0: unknown to the client
	gap    bool   // the server reported missing messages before it
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

// text of a message: its user and its number.
func text(user string, n int) string { return user + " " + strconv.Itoa(n) }

// try records that a message is about to be pushed. It may arrive from now on.
func (h *history) try(user string, n int) {
	h.mu.Lock()
	h.of(user).tried[n] = true
	h.mu.Unlock()
}

// accept records that a message was stored at an offset. It must arrive.
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

// Verdict is the result of a check. Everything after Duplicates is a violation.
type Verdict struct {
	Accepted   int `json:"accepted"`   // pushes with status 200
	Unknown    int `json:"unknown"`    // other pushes, which may have been stored
	Received   int `json:"received"`   // messages on all devices
	Duplicates int `json:"duplicates"` // of those, messages that the device had already received

	Lost      []string `json:"lost,omitempty"`      // accepted and not received
	Reordered []string `json:"reordered,omitempty"` // apart from duplicates
	Foreign   []string `json:"foreign,omitempty"`   // not for this user, or never pushed
	Gaps      []string `json:"gaps,omitempty"`      // reported although no message can be missing
	Offsets   []string `json:"offsets,omitempty"`   // two for one message, or not in the order of the pushes
}

// Err returns nil if there are no violations.
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

// check finds the violations.
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
				v.Offsets = append(v.Offsets, fmt.Sprintf("%q is at %d, after one at %d", text(user, n), p.accepted[n], last))
			}
			last = p.accepted[n]
		}
	}
	return v
}

// lost adds the accepted messages that are not in seen.
func (h *history) lost(v *Verdict, user, where string, seen map[int]bool) {
	accepted := h.users[user].accepted
	for _, n := range slices.Sorted(maps.Keys(accepted)) {
		if !seen[n] {
			v.Lost = append(v.Lost, fmt.Sprintf("%q at %d, on %s", text(user, n), accepted[n], where))
		}
	}
}

// check finds the violations on one device, and returns what it received.
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
			v.Duplicates++
			continue
		}
		seen[n] = true
		// Numbers are stored in order: each push waits until the previous one was
		// accepted, and a user whose push never was has no further ones.
		if n < last {
			v.Reordered = append(v.Reordered, fmt.Sprintf("%q after %d on %s", r.text, last, d.name))
		}
		last = max(last, n)
	}
	return seen
}

// dump writes the history to a file.
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
