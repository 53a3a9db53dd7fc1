package netpoll

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
)

// fill writes numbered messages of 1 KiB until one is not accepted or n are written, and
// counts the outcomes.
func fill(s *session, p Policy, n int) (count [Gone + 1]int) {
	for i := range n {
		msg := make([]byte, 1<<10)
		binary.BigEndian.PutUint32(msg, uint32(i))
		o := s.Write(msg, p)
		count[o]++
		if !o.Delivered() {
			break
		}
	}
	return count
}

// numbers reads messages until the last, and returns their numbers.
func numbers(t *testing.T, nc net.Conn, last int) (got []int) {
	t.Helper()
	msg := make([]byte, 1<<10)
	for {
		if _, err := io.ReadFull(nc, msg); err != nil {
			t.Fatalf("after %d messages: %v", len(got), err)
		}
		i := int(binary.BigEndian.Uint32(msg))
		if len(got) > 0 && i <= got[len(got)-1] {
			t.Fatalf("message %d after %d", i, got[len(got)-1])
		}
		if got = append(got, i); i == last {
			return got
		}
	}
}

func TestSlowConsumer(t *testing.T) {
	const bound = 64 << 10
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		rig := func(t *testing.T) (*rig, net.Conn, *session) {
			r := newRig(t, Config{Transport: transport, QueueBytes: bound}, network, ignore)
			nc, s := r.connect()
			return r, nc, s
		}
		t.Run("CloseOnFull", func(t *testing.T) {
			r, nc, s := rig(t)
			n := fill(s, CloseOnFull, 1<<20)
			if n[Full] != 1 || n[Queued] < bound/(1<<10)/2 {
				t.Fatalf("outcomes %v", n)
			}
			if q := s.Queued(); q > bound+1<<10 || q < bound/2 {
				t.Errorf("%d bytes are queued, the bound is %d", q, bound)
			}
			// The last message did not fit, so the cost is within one message of the bound.
			if cost := s.QueuedCost(); cost > bound || cost+1<<10+entryCost <= bound || cost < s.Queued()+entryCost {
				t.Errorf("the queue costs %d, the bound is %d", cost, bound)
			}
			// The accepted messages arrive, and after them what is written now.
			taken := n[Written] + n[Queued]
			if got := numbers(t, nc, taken-1); len(got) != taken {
				t.Errorf("%d messages arrived, %d were accepted", len(got), taken)
			}
			eventually(t, "the queue is empty", func() bool { return s.Queued() == 0 && s.QueuedCost() == 0 })
			if got := s.Write([]byte("now"), CloseOnFull); got != Written {
				t.Errorf("Write = %v", got)
			}
			expect(t, nc, "now")
			if n := r.e.Stats().Dropped; n != 0 {
				t.Errorf("%d dropped", n)
			}
		})
		t.Run("DropOldest", func(t *testing.T) {
			r, nc, s := rig(t)
			const all = 20_000 // 20 MB: more than sockets and queue hold
			n := fill(s, DropOldest, all)
			if n[Written]+n[Queued]+n[Displaced] != all || n[Displaced] == 0 {
				t.Fatalf("outcomes %v", n)
			}
			if q := s.Queued(); q > bound+1<<10 {
				t.Errorf("%d bytes are queued, the bound is %d", q, bound)
			}
			dropped := int(r.e.Stats().Dropped)
			if n := r.e.Stats().Abandoned; n != 0 {
				t.Errorf("%d abandoned", n)
			}
			got := numbers(t, nc, all-1) // the newest arrives
			if dropped == 0 || len(got) != all-dropped {
				t.Errorf("%d messages arrived, %d were dropped, of %d", len(got), dropped, all)
			}
		})
		t.Run("Control", func(t *testing.T) {
			_, _, s := rig(t)
			fill(s, CloseOnFull, 1<<20)
			pong := make([]byte, 127)
			var n int
			for n = 0; s.WriteBorrowed(pong, Control) == Queued; n++ {
			}
			if least := controlSlack/len(pong) - 1; n < least || n > least+10 { // up to one message may fit besides
				t.Errorf("%d control messages on top of a full queue, want %d", n, least)
			}
			if got := s.WriteBorrowed(pong, Control); got != Full {
				t.Errorf("Write = %v, want Full", got)
			}
		})
		t.Run("a queue of other policies", func(t *testing.T) {
			r, _, s := rig(t)
			fill(s, CloseOnFull, 1<<20)
			if got := s.Write(make([]byte, 1<<10), DropOldest); got != Dropped || got.Delivered() {
				t.Errorf("Write = %v, want Dropped: no older message may be dropped", got)
			}
			if n := r.e.Stats().Dropped; n != 1 {
				t.Errorf("%d dropped, want 1", n)
			}
		})
		t.Run("a message longer than the queue", func(t *testing.T) {
			_, nc, s := rig(t)
			const n = 16 << 20
			if got := s.Write(make([]byte, n), CloseOnFull); !got.Delivered() {
				t.Fatalf("Write = %v", got)
			}
			if s.Queued() > bound {
				if got := s.Write([]byte("x"), CloseOnFull); got != Full {
					t.Errorf("Write = %v, want Full", got)
				}
			}
			if m, err := io.CopyN(io.Discard, nc, n); err != nil {
				t.Errorf("%d bytes arrived, then %v", m, err)
			}
		})
	})
}
