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

// history records what was pushed, what was accepted, what each device received in which order, and which losses were
// announced. check finds the violations.
type history struct {
	mu      sync.Mutex
	clock   int // number of events; guarded by mu
	users   map[string]*pushes
	devices []*device
	epochs  map[string]bool // all that answers and devices have shown
	breaks  []int           // events from which on stored messages may be missing
	losses  []loss
}

// pushes to one user. Messages are numbered from 1.
type pushes struct {
	tried    map[int]int // bytes of padding
	accepted map[int]accepted
}

// accepted is the answer to a push.
type accepted struct {
	offset uint64
	epoch  string
	event  int
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
	text       string // empty: a hello
	offset     uint64 // 0: unknown to the client
	epoch      string // of offset
	gap        bool   // the server reported missing messages before it
	connection int
	event      int
	at         time.Time
}

// loss is an announcement that accepted messages may be missing.
type loss struct {
	what   string          // how it was announced
	epochs map[string]bool // in which the messages were accepted
	most   int             // how many may be missing; negative: any number
	// voids means that offsets of the epochs mean nothing any more: a device that saw one of them must be told of a
	// gap. Without voids, every device that lacks a message must be told of a gap.
	voids bool
}

func newHistory() *history {
	return &history{users: make(map[string]*pushes), epochs: make(map[string]bool)}
}

func (h *history) of(user string) *pushes {
	p := h.users[user]
	if p == nil {
		p = &pushes{make(map[int]int), make(map[int]accepted)}
		h.users[user] = p
	}
	return p
}

// text returns a message: its user and its number.
func text(user string, n int) string { return user + " " + strconv.Itoa(n) }

// padded returns a message with bytes that carry no meaning.
func padded(user string, n, padding int) string {
	if padding == 0 {
		return text(user, n)
	}
	return text(user, n) + " " + strings.Repeat("x", padding-1)
}

// parse returns the number of a message for a user, if it has one.
func parse(message, user string) (n int, ok bool) {
	rest, ok := strings.CutPrefix(message, user+" ")
	number, _, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(number)
	return n, ok && err == nil
}

// try records that a message is about to be pushed. It may arrive from now on.
func (h *history) try(user string, n int) { h.tryPadded(user, n, 0) }

func (h *history) tryPadded(user string, n, padding int) {
	h.mu.Lock()
	h.of(user).tried[n] = padding
	h.mu.Unlock()
}

// accept records that a message was stored at an offset. It must arrive.
func (h *history) accept(user string, n int, s stored) {
	h.mu.Lock()
	h.clock++
	h.epochs[s.Epoch] = true
	h.of(user).accepted[n] = accepted{s.Offset, s.Epoch, h.clock}
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
	d.h.clock++
	r.event = d.h.clock
	if r.epoch != "" {
		d.h.epochs[r.epoch] = true
	}
	d.receipts = append(d.receipts, r)
	d.h.mu.Unlock()
}

// saw records an epoch, and returns all that were seen until now.
func (h *history) saw(epoch string) map[string]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if epoch != "" {
		h.epochs[epoch] = true
	}
	return maps.Clone(h.epochs)
}

// startBreak records that stored messages may be missing from now on: gaps may be announced.
func (h *history) startBreak() {
	h.mu.Lock()
	h.clock++
	h.breaks = append(h.breaks, h.clock)
	h.mu.Unlock()
}

// mayMiss reports whether stored messages may be missing.
func (h *history) mayMiss() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.breaks) > 0
}

// announce records the announcement of a loss.
func (h *history) announce(l loss) {
	h.mu.Lock()
	h.losses = append(h.losses, l)
	h.mu.Unlock()
}

// broken reports whether stored messages may have disappeared between two events.
func (h *history) broken(from, to int) bool {
	return slices.ContainsFunc(h.breaks, func(at int) bool { return from <= at && at <= to })
}

// missing returns the accepted messages that a device has not received.
func (h *history) missing(d *device) map[string]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := make(map[string]bool)
	p := h.of(d.user)
	for n := range p.accepted {
		m[padded(d.user, n, p.tried[n])] = true
	}
	for _, r := range d.receipts {
		delete(m, r.text)
	}
	return m
}

// dump writes the history to a file.
func (h *history) dump(file string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var b strings.Builder
	for _, user := range slices.Sorted(maps.Keys(h.users)) {
		p := h.users[user]
		for _, n := range slices.Sorted(maps.Keys(p.tried)) {
			a := p.accepted[n]
			fmt.Fprintf(&b, "%7d push %q: offset %d, epoch %s\n", a.event, text(user, n), a.offset, a.epoch)
		}
	}
	for _, at := range h.breaks {
		fmt.Fprintf(&b, "%7d messages may be missing from here on\n", at)
	}
	for _, l := range h.losses {
		fmt.Fprintf(&b, "loss announced by %s: epochs %q, most %d, voids %v\n", l.what, slices.Sorted(maps.Keys(l.epochs)), l.most, l.voids)
	}
	for _, d := range h.devices {
		for _, r := range d.receipts {
			fmt.Fprintf(&b, "%7d %s %s, connection %d: %.40q at %d, epoch %s, gap %v\n",
				r.event, r.at.Format("04:05.000"), d.name, r.connection, r.text, r.offset, r.epoch, r.gap)
		}
	}
	return os.WriteFile(file, []byte(b.String()), 0o600)
}
