package netpoll

import (
	"io"
	"runtime"
	"testing"
	"unsafe"
)

// A Conn is what an idle connection costs in this package: one cache line.
func TestConnSize(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("the sizes are those of 64 bits")
	}
	var c Conn
	parts := []struct {
		name       string
		size, want uintptr
	}{
		{"handler", unsafe.Sizeof(c.handler), 16},
		{"engine, for writes and closes from anywhere", unsafe.Sizeof(c.engine), 8},
		{"via: a goroutine or a layer; nil for most", unsafe.Sizeof(c.via), 8},
		{"fd", unsafe.Sizeof(c.fd), 4},
		{"gen, the generation in events", unsafe.Sizeof(c.gen), 4},
		{"turn, the right to read", unsafe.Sizeof(c.turn), 4},
		{"flags, read without a lock", unsafe.Sizeof(c.flags), 4},
		{"mu, for writers", unsafe.Sizeof(c.mu), 8},
		{"out, nil while nothing is queued", unsafe.Sizeof(c.out), 8},
	}
	var sum uintptr
	for _, p := range parts {
		if p.size != p.want {
			t.Errorf("%s: %d bytes, want %d", p.name, p.size, p.want)
		}
		sum += p.size
	}
	if total := unsafe.Sizeof(c); total != 64 || sum != total {
		t.Errorf("a Conn is %d bytes, its parts %d, want 64", total, sum)
	}
}

// allocs runs f many times and returns the allocations per run of the whole process,
// including the workers.
func allocs(runs int, f func()) float64 {
	f()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		f()
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / float64(runs)
}

func TestEchoDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forget")
	}
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		for name, data := range map[string]func(s *session, b []byte){
			"write":   func(s *session, b []byte) { s.Write(b, CloseOnFull) },
			"copying": func(s *session, b []byte) { s.WriteBorrowed(b, Control) },
			"corked": func(s *session, b []byte) {
				s.Cork()
				s.WriteBorrowed(b[:1], Control)
				s.WriteBorrowed(b[1:], Control)
			},
		} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, Config{Transport: transport}, network, func(s *session, b []byte) {
					if len(b) > 1 {
						data(s, b)
					}
				})
				nc, _ := r.connect()
				msg, got := []byte("twenty bytes of data"), make([]byte, 20)
				n := allocs(2000, func() {
					nc.Write(msg)
					io.ReadFull(nc, got)
				})
				// The runtime itself allocates now and then.
				if n > 0.05 {
					t.Errorf("%.2f allocations per echo", n)
				}
			})
		}
	})
}

// A writer does not allocate while the peer does not read.
func TestWriteDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forget")
	}
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		r := newRig(t, Config{Transport: transport}, network, ignore)
		_, s := r.connect()
		msg := make([]byte, 1000)
		for range 10_000 { // the queue is full, and its storage has grown
			s.Write(msg, DropOldest)
		}
		for name, write := range map[string]func(){
			"shared":   func() { s.Write(msg, DropOldest) },
			"rejected": func() { s.WriteBorrowed(msg, CloseOnFull) },
			"asked":    func() { s.Queued(); s.CanWrite() },
			"tried":    func() { s.Uncork() },
			"switched": func() { s.Cork(); s.Write(msg, DropOldest); s.Uncork() },
		} {
			if n := testing.AllocsPerRun(1000, write); n != 0 {
				t.Errorf("%s: %v allocations", name, n)
			}
		}
	})
}
