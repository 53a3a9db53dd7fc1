package netpoll

import (
	"io"
	"net"
	"slices"
	"sync"
	"testing"
)

// echoes is a Poller that returns each event again with all later ones, as if they had
// been harvested before their connections were closed.
type echoes struct {
	Poller
	mu   sync.Mutex
	past []Event
}

func (p *echoes) Wait(dst []Event, block bool) (int, error) {
	n, err := p.Poller.Wait(dst, block)
	p.mu.Lock()
	defer p.mu.Unlock()
	m := copy(dst[n:], p.past)
	for _, ev := range dst[:n] {
		if ev.Gen != 0 && !slices.Contains(p.past, ev) {
			p.past = append(p.past, ev)
		}
	}
	return n + m, err
}

// No event for a closed connection reaches a new one with the same number.
func TestStaleEvents(t *testing.T) {
	pollers(t, func(t *testing.T, transport Transport) {
		cfg := Config{Transport: transport}
		if err := cfg.validate(); err != nil {
			t.Fatal(err)
		}
		inner, err := newPoller(transport)
		if err != nil {
			t.Fatal(err)
		}
		p := &echoes{Poller: inner}
		e := start(cfg, p)
		defer e.Close()

		var fd int32
		var gens []uint32
		for round := range 20 {
			client, server := accepted(t, "tcp")
			s := newSession(t, nil)
			if err := e.Adopt(server, &s.Conn, s, nil); err != nil {
				t.Fatal(err)
			}
			if round == 0 {
				fd = s.fd
			}
			if s.fd != fd || slices.Contains(gens, s.gen) {
				t.Fatalf("descriptor %d of generation %d, want descriptor %d again, of a new one", s.fd, s.gen, fd)
			}
			gens = append(gens, s.gen)
			// Every event of the earlier connections comes again now.
			must(t, client, "hello")
			expect(t, client, "hello")
			before := e.Stats().Stale
			must(t, client, "again")
			expect(t, client, "again")
			if stale := e.Stats().Stale; round > 0 && stale == before {
				t.Fatal("no stale event was seen")
			}
			for _, gen := range gens[:round] {
				if e.find(Event{FD: fd, Gen: gen, Ready: Readable | Hangup}) != nil {
					t.Fatalf("an event of generation %d finds generation %d", gen, s.gen)
				}
			}
			if e.find(Event{FD: fd, Gen: s.gen}) != &s.Conn {
				t.Fatal("an event of its own does not find the connection")
			}
			client.Close()
			wantClosed(t, s, io.EOF) // once, or the handler complains
		}
	})
}

// A spurious event does not harm its connection.
func TestSpuriousEvents(t *testing.T) {
	pollers(t, func(t *testing.T, transport Transport) {
		r := newRig(t, Config{Transport: transport}, "tcp", nil)
		nc, s := r.connect()
		for ready := Readiness(0); ready < 8; ready++ {
			for range 10 {
				s.wake(ready)
			}
			must(t, nc, "hello")
			expect(t, nc, "hello")
		}
	})
}

// Descriptor numbers are reused all the time while connections open and close. What is
// sent to one client never reaches another.
func TestNumbersAreReused(t *testing.T) {
	pollers(t, func(t *testing.T, transport Transport) {
		r := newRig(t, Config{Transport: transport}, "tcp", nil)
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				for i := range 100 {
					nc, err := net.Dial(r.network, r.addr)
					if err != nil {
						t.Error(err)
						return
					}
					text := string([]byte{byte(g), byte(i)})
					got := make([]byte, 2)
					nc.Write([]byte(text))
					if _, err := io.ReadFull(nc, got); err != nil || string(got) != text {
						t.Errorf("read %q, %v; want %q", got, err, text)
					}
					if i%2 == 0 {
						nc.(*net.TCPConn).SetLinger(0)
					}
					nc.Close()
				}
			})
		}
		wg.Wait()
	})
}
