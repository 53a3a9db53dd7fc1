package cluster

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy is a TCP proxy in front of a NATS server that can stop reading, in both
// directions, and cut connections.
type Proxy struct {
	ln      net.Listener
	to      string
	stalled atomic.Bool
	delay   time.Duration // of what each read brought
	running sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{} // guarded by mu; nil: closed
}

// StartProxy starts a proxy that ends with the test.
func StartProxy(t testing.TB, to string, delay time.Duration) *Proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{ln: ln, to: to, delay: delay, conns: make(map[net.Conn]struct{})}
	p.running.Go(p.accept)
	t.Cleanup(func() {
		p.Stall(false)
		ln.Close()
		p.Cut(true)
		p.running.Wait()
	})
	return p
}

// Addr returns HOST:PORT of the proxy.
func (p *Proxy) Addr() string { return p.ln.Addr().String() }

// Stall makes the proxy stop reading, or read again.
func (p *Proxy) Stall(on bool) { p.stalled.Store(on) }

func (p *Proxy) accept() {
	for {
		a, err := p.ln.Accept()
		if err != nil {
			return
		}
		b, err := net.Dial("tcp", p.to)
		if err != nil {
			a.Close()
			continue
		}
		p.mu.Lock()
		if p.conns == nil {
			a.Close()
			b.Close()
		} else {
			p.conns[a], p.conns[b] = struct{}{}, struct{}{}
			p.running.Go(func() { p.copy(a, b) })
			p.running.Go(func() { p.copy(b, a) })
		}
		p.mu.Unlock()
	}
}

func (p *Proxy) copy(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		for p.stalled.Load() {
			time.Sleep(time.Millisecond)
		}
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		for p.stalled.Load() {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(p.delay)
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// Cut closes all connections; for good, if the test ends.
func (p *Proxy) Cut(end bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
	if p.conns = make(map[net.Conn]struct{}); end {
		p.conns = nil
	}
}
