package replay

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"fanfare/server/store"
)

// wire is a frame on its way to a client.
type wire struct {
	kind    string // begin, stored, live, ping
	begin   Begin
	message Message
	text    string // payload, or the serial of a ping
	size    int
}

func (w *wire) Len() int { return w.size }

func (w *wire) String() string {
	switch w.kind {
	case "begin":
		if w.begin.Unknown {
			return "begin?"
		}
		return fmt.Sprintf("begin %s%s@%d gap=%v", w.begin.Box.Topic, w.begin.Epoch, w.begin.Offset, w.begin.Gap)
	case "stored":
		gap := ""
		if w.message.Gap {
			gap = " gap"
		}
		return w.message.Box.Topic + w.text + gap
	case "ping":
		return "ping"
	}
	return w.text
}

// receiver is a session with a connection: what the kernel takes is on its way to
// the client, what it does not take is in a queue that is bounded as netpoll's.
type receiver struct {
	svc     *Service
	id      uint64
	user    string
	phase   Phase
	since   time.Time
	addr    netip.Addr
	mode    AckMode
	noPings bool

	kernel    []*wire
	kernelMax int // frames
	queue     []*wire
	limit     int // of the queue
	hold      bool

	dropped []*wire // live messages for which DropLive was called
	panics  bool
	// dialect, if not empty, cannot encode messages that begin with it.
	dialect string
	failed  error
	full    string // what the queue had no room for
	// check is called for each frame before it is written.
	check func(w *wire)
}

func (r *receiver) ID() uint64       { return r.id }
func (r *receiver) User() string     { return r.user }
func (r *receiver) Phase() Phase     { return r.phase }
func (r *receiver) AckMode() AckMode { return r.mode }
func (r *receiver) Pings() bool      { return !r.noPings }

func (r *receiver) Queued() (n int) {
	for _, w := range r.queue {
		n += w.size + entryCost
	}
	return n
}

// write is Conn.Write with CloseOnFull and, for what fits no more, the end of the
// session with 1013: messages are dropped from the queue.
func (r *receiver) write(w *wire) bool {
	if r.phase != Open {
		return false
	}
	if r.check != nil {
		r.check(w)
	}
	switch {
	case len(r.queue) == 0 && len(r.kernel) < r.kernelMax:
		r.kernel = append(r.kernel, w)
	case len(r.queue) == 0 || r.Queued()+w.size+entryCost <= r.limit:
		r.queue = append(r.queue, w)
	default:
		r.full = w.kind
		r.phase = Ended
		r.queue = nil
		r.svc.Discard(r)
		return false
	}
	return true
}

func (r *receiver) Begin(b Begin) {
	if r.mode == AckExplicit { // others have no greeting
		r.write(&wire{kind: "begin", begin: b, size: 20})
	}
}

func (r *receiver) Encode(m *Message) Frame {
	if r.panics {
		panic("no encoding")
	}
	w := &wire{kind: "stored", message: *m}
	if m.Stored != nil {
		w.text = string(m.Stored.Payload)
	} else {
		w.text = m.Shared.(string)
	}
	if r.dialect != "" && strings.HasPrefix(w.text, r.dialect) {
		return nil
	}
	w.size = len(w.text)
	return w
}

func (r *receiver) Dialect() any        { return r.dialect }
func (r *receiver) Address() netip.Addr { return r.addr }
func (r *receiver) Since() time.Time    { return r.since }

func (r *receiver) WriteStored(f Frame) bool { return r.write(f.(*wire)) }
func (r *receiver) WriteLive(f Frame) bool   { return r.write(f.(*wire)) }
func (r *receiver) DropLive(f Frame)         { r.dropped = append(r.dropped, f.(*wire)) }
func (r *receiver) Ping(payload []byte) bool {
	return r.write(&wire{kind: "ping", text: string(payload), size: len(payload) + 2})
}
func (r *receiver) EndHold() { r.hold = false }

func (r *receiver) Fail(err error) {
	if r.check != nil && !errors.Is(err, ErrEncode) {
		panic(fault(err.Error())) // what check found
	}
	r.failed = err
	r.phase = Ended
}

// drain moves the queue to the kernel, as far as that has room.
func (r *receiver) drain() {
	for len(r.queue) > 0 && len(r.kernel) < r.kernelMax {
		r.kernel = append(r.kernel, r.queue[0])
		r.queue = r.queue[1:]
	}
}

// read returns the next frame that the client reads, nil if there is none.
func (r *receiver) read() *wire {
	if len(r.kernel) == 0 {
		return nil
	}
	w := r.kernel[0]
	r.kernel = r.kernel[1:]
	r.drain()
	return w
}

// rig is a service without goroutines: work and tick run it.
type rig struct {
	testing.TB
	*Service
	store *fakeStore
	clock *clock
	ids   uint64
}

func newRig(t testing.TB, change ...func(*Config)) *rig {
	c := newClock()
	db := newFakeStore(c.Now)
	cfg := Config{Store: db, Window: 1000, Now: c.Now, Logger: discard}
	for _, f := range change {
		f(&cfg)
	}
	return &rig{TB: t, Service: New(cfg), store: db, clock: c}
}

// work serves all sessions that are queued.
func (g *rig) work() {
	for s := g.next(false); s != nil; s = g.next(false) {
		g.serve(s)
	}
}

// run works and lets time pass until nothing is due any more.
func (g *rig) run() {
	for range 30 {
		g.work()
		g.clock.advance(tickInterval)
		g.tick(g.clock.Now())
	}
	g.work()
}

// receiver returns one that is not attached.
func (g *rig) receiver(user string, mode AckMode) *receiver {
	g.ids++
	return &receiver{svc: g.Service, id: g.ids, user: user, mode: mode, kernelMax: 1 << 20, limit: 2 * g.cfg.Window}
}

// connect attaches and opens a receiver, and works.
func (g *rig) connect(user string, mode AckMode, topics ...string) *receiver {
	return g.resume(user, mode, Start{}, topics...)
}

func (g *rig) resume(user string, mode AckMode, start Start, topics ...string) *receiver {
	r := g.receiver(user, mode)
	g.open(r, start, topics...)
	g.work()
	return r
}

func (g *rig) open(r *receiver, start Start, topics ...string) {
	var subs []Subscription
	for _, topic := range topics {
		subs = append(subs, Subscription{Topic: topic})
	}
	g.attach(r, start, subs)
	r.phase = Open
	g.Open(r)
}

// attach attaches a receiver whose Since is only as exact as a server's.
func (g *rig) attach(r *receiver, start Start, subs []Subscription) {
	r.hold = true
	r.since = g.clock.Now().Truncate(tickInterval)
	g.Attach(r, start, subs)
}

// check has the store asked once more for the inbox of a receiver.
func (g *rig) check(r *receiver) {
	g.use(r, false, func(s *session) { s.inbox.check = true; s.wake() })
}

func (g *rig) close(r *receiver, code int) {
	r.phase = Ended
	g.Detach(r, code)
}

// push stores a message, and notifies those receivers.
func (g *rig) push(b store.Box, text string, to ...*receiver) uint64 {
	r := g.store.append(b, text, 0)
	n := g.NewNotice(b, r.Offset, r.Prev, text)
	for _, to := range to {
		g.Notify(to, n)
	}
	return r.Offset
}

// live pushes a live message as the server does.
func (g *rig) live(r *receiver, text string) (delivered bool) {
	w := &wire{kind: "live", text: text, size: len(text)}
	if r.phase != Open {
		return false
	}
	if r.hold && g.Hold(r, w) {
		return true
	}
	return r.WriteLive(w)
}

// take reads all frames and returns them without pings, which it answers if answer
// is set.
func (g *rig) take(r *receiver, answer bool) (got []string) {
	for w := r.read(); w != nil; w = r.read() {
		if w.kind != "ping" {
			got = append(got, w.String())
		} else if answer {
			g.Pong(r, []byte(w.text))
			g.work()
		}
	}
	return got
}

// want reads all frames and compares.
func (g *rig) want(r *receiver, answer bool, want ...string) {
	g.Helper()
	if got := g.take(r, answer); !slices.Equal(got, want) {
		g.Errorf("got %q, want %q", got, want)
	}
}

// wantAcked compares the position of a user, -1 if there is none.
func (g *rig) wantAcked(b store.Box, user string, want int) {
	g.Helper()
	offset, known := g.store.position(b, user)
	if got := int(offset); !known && want != -1 || known && got != want {
		g.Errorf("acked %d (%v), want %d", got, known, want)
	}
}

func inboxOf(user string) store.Box { return store.Box{User: user} }
func topic(name string) store.Box   { return store.Box{Topic: name} }

func numbers(prefix string, from, to int) (l []string) {
	for i := from; i <= to; i++ {
		l = append(l, prefix+strconv.Itoa(i))
	}
	return l
}
