package fault

import (
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// proxies is a network for systems without namespaces: each pair of places
// communicates through its own TCP proxy, which can stop forwarding. All places
// have addresses in 127.0.0.0/8.
type proxies struct {
	base string
	here *place

	mu    sync.Mutex
	all   []*place
	links map[string]*proxy // by listening address
	pairs map[[2]*place][]*proxy
	cuts  map[[2]*place]bool
}

func newProxies(base string) *proxies {
	return &proxies{base: base, here: &place{name: "home", ip: base + ".1"},
		links: make(map[string]*proxy), pairs: make(map[[2]*place][]*proxy), cuts: make(map[[2]*place]bool)}
}

func (n *proxies) what() string { return "TCP proxies (namespaces need root and iproute2)" }

func (n *proxies) home() *place { return n.here }

func (n *proxies) add(name string) (*place, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := &place{name: name, ip: fmt.Sprintf("%s.%d", n.base, len(n.all)+2)}
	n.all = append(n.all, p)
	return p, nil
}

func (n *proxies) via(from, to *place, port int) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	// The address is that of the dialling place; the port identifies the other one.
	addr := fmt.Sprintf("%s:%d", from.ip, port+100*n.index(to))
	if n.links[addr] != nil {
		return addr, nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", fmt.Errorf("fault: %w", err)
	}
	p := &proxy{listener: l, target: fmt.Sprintf("%s:%d", to.ip, port), conns: make(map[net.Conn]struct{})}
	p.cond.L = &p.mu
	p.cut = n.cuts[pair(from, to)]
	p.running.Go(p.accept)
	n.links[addr] = p
	n.pairs[pair(from, to)] = append(n.pairs[pair(from, to)], p)
	return addr, nil
}

func (n *proxies) index(p *place) int {
	for i := range n.all {
		if n.all[i] == p {
			return i + 1
		}
	}
	return 0
}

// pair has no direction: a cut affects both.
func pair(a, b *place) [2]*place {
	if a.ip > b.ip {
		a, b = b, a
	}
	return [2]*place{a, b}
}

func (n *proxies) cut(from, to *place, _ bool) error { return n.set(from, to, true) }
func (n *proxies) heal(from, to *place) error        { return n.set(from, to, false) }

func (n *proxies) set(from, to *place, cut bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts[pair(from, to)] = cut
	for _, p := range n.pairs[pair(from, to)] {
		p.set(cut)
	}
	return nil
}

func (n *proxies) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.links {
		p.close()
	}
}

// proxy is one link in one direction of dialling.
type proxy struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup

	mu     sync.Mutex
	cond   sync.Cond // when cut or closed change
	cut    bool
	closed bool
	conns  map[net.Conn]struct{}
}

func (p *proxy) set(cut bool) {
	p.mu.Lock()
	p.cut = cut
	p.mu.Unlock()
	p.cond.Broadcast()
}

// pass waits until the link is not cut, and reports false if the proxy is closed.
func (p *proxy) pass() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.cut && !p.closed {
		p.cond.Wait()
	}
	return !p.closed
}

func (p *proxy) hold(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		c.Close()
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *proxy) drop(c net.Conn) {
	c.Close()
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}

func (p *proxy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		if p.hold(in) {
			p.running.Go(func() { p.serve(in) })
		}
	}
}

func (p *proxy) serve(in net.Conn) {
	defer p.drop(in)
	if !p.pass() {
		return
	}
	out, err := net.DialTimeout("tcp", p.target, 5*time.Second)
	if err != nil || !p.hold(out) {
		return
	}
	defer p.drop(out)
	var back sync.WaitGroup
	back.Go(func() { p.copy(in, out) })
	p.copy(out, in)
	back.Wait()
}

// copy forwards bytes. Bytes that it has read when the link is cut wait until it is healed.
func (p *proxy) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if !p.pass() {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			if err == io.EOF && !p.pass() { // the end of the stream waits, as bytes do
				return
			}
			return
		}
	}
}

func (p *proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.cond.Broadcast()
	p.running.Wait()
}
