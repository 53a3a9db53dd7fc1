package replay

import (
	"fmt"
	"testing"
	"unsafe"
)

// quietReceiver accepts everything.
type quietReceiver struct {
	*receiver
	last [20]byte
	n    int
}

func (r *quietReceiver) Begin(Begin)             {}
func (r *quietReceiver) Encode(m *Message) Frame { return m.Shared.(Frame) }
func (r *quietReceiver) WriteStored(Frame) bool  { return true }
func (r *quietReceiver) Queued() int             { return 0 }
func (r *quietReceiver) Ping(payload []byte) bool {
	r.n = copy(r.last[:], payload)
	return true
}

// login attaches and opens a session for which nothing is stored.
func login(g *rig, r *receiver) {
	r.phase = Opening
	g.Attach(r, Start{}, nil)
	r.phase = Open
	g.Open(r)
	g.serve(g.next(false))
}

func BenchmarkLoginWithNothingStored(b *testing.B) {
	g := newRig(b)
	r := g.receiver("alice", AckByPong)
	b.ReportAllocs()
	for b.Loop() {
		login(g, r)
	}
	if n := g.Stats().Sessions; n != 0 {
		b.Errorf("%d sessions", n)
	}
}

// BenchmarkNotify is one stored message to one receiver that answers the ping.
func BenchmarkNotify(b *testing.B) {
	g, r, f := notifyRig(b)
	b.ReportAllocs()
	for b.Loop() {
		notifyOne(g, r, f)
	}
	if g.Stats().Replayed < int64(b.N) {
		b.Error("not delivered")
	}
}

func notifyRig(t testing.TB) (*rig, *quietReceiver, Frame) {
	g := newRig(t)
	r := &quietReceiver{receiver: g.receiver("alice", AckExplicit)}
	r.phase = Open
	f := &wire{text: "text", size: 20}
	r0 := g.store.append(inboxOf("alice"), "text", 0)
	g.Notify(r, g.NewNotice(inboxOf("alice"), r0.Offset, r0.Prev, f))
	g.use(r, true, func(s *session) { s.inbox.start = Start{Resume: true, Epoch: "e1", Offset: r0.Offset} })
	g.work()
	g.store.calls = nil
	return g, r, f
}

func notifyOne(g *rig, r *quietReceiver, f Frame) {
	offset := g.store.seq + 1
	g.store.seq = offset
	n := g.NewNotice(inboxOf("alice"), offset, offset-1, f)
	if !g.Notify(r, n) || !g.Pong(r, r.last[:r.n]) {
		panic("not delivered")
	}
}

// TestAllocations: what a login with nothing stored and a delivery cost.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	g := newRig(t)
	r := g.receiver("alice", AckByPong)
	// The session, and the queue of the workers, which is freed when empty.
	if n := testing.AllocsPerRun(100, func() { login(g, r) }); n > 2 {
		t.Errorf("%v allocations per login", n)
	}
	// The notice, which all receivers share.
	g2, r2, f := notifyRig(t)
	if n := testing.AllocsPerRun(100, func() { notifyOne(g2, r2, f) }); n > 1 {
		t.Errorf("%v allocations per delivery", n)
	}
}

// TestSizes pins what a session costs while it has state: 448 bytes, the size class,
// of which half is the stream of its inbox. Each topic takes another 224.
func TestSizes(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("sizes are for 64 bits")
	}
	if got := fmt.Sprint(unsafe.Sizeof(session{}), unsafe.Sizeof(stream{})); got != "448 224" {
		t.Errorf("sizes %s", got)
	}
}
