package netpoll

import (
	"fmt"
	"slices"
	"sync"

	easygo "github.com/mailru/easygo/netpoll"
)

// easygoPoller is a Poller on github.com/mailru/easygo, of which only the epoll
// instance is used: its Handle functions would hold a second descriptor for
// each connection and make sockets blocking.
//
// It runs callbacks one after another inside its own wait loop, so all they do
// is to collect; Wait takes what they collected.
type easygoPoller struct {
	ep *easygo.Epoll

	mu     sync.Mutex
	ready  []*edge // guarded by mu
	signal chan struct{}
}

// edge is what happened to one descriptor since Wait took it last. However often
// that was, it is in the list once: while no worker calls Wait a peer could make
// the list grow with each byte that it sends.
type edge struct {
	fd   int32
	gen  uint32
	bits Readiness // 0: not in the list; guarded by mu
}

const easygoBits = easygo.EPOLLIN | easygo.EPOLLPRI | easygo.EPOLLOUT | easygo.EPOLLRDHUP | easygo.EPOLLET

func newEasygo() (*easygoPoller, error) {
	p := &easygoPoller{signal: make(chan struct{}, 1)}
	ep, err := easygo.EpollCreate(&easygo.EpollConfig{OnWaitError: func(err error) {
		panic("BUG: netpoll: easygo: " + err.Error())
	}})
	if err != nil {
		return nil, fmt.Errorf("netpoll: easygo: %w", err)
	}
	p.ep = ep
	return p, nil
}

func (p *easygoPoller) Add(fd int, gen uint32) error {
	e := &edge{fd: int32(fd), gen: gen}
	err := p.ep.Add(fd, easygoBits, func(bits easygo.EpollEvent) {
		// It may still come after Del: the generation tells.
		p.collect(e, readiness(uint32(bits)))
	})
	if err != nil {
		p.ep.Del(fd) // a failed Add leaves its callback behind
		return fmt.Errorf("netpoll: easygo add: %w", err)
	}
	return nil
}

func (p *easygoPoller) collect(e *edge, bits Readiness) {
	if bits == 0 {
		return // easygo says that the poller is closed
	}
	p.mu.Lock()
	if e.bits == 0 {
		p.ready = append(p.ready, e)
	}
	e.bits |= bits
	p.mu.Unlock()
	p.Wake()
}

func (p *easygoPoller) Remove(fd int, closing bool) error {
	if err := p.ep.Del(fd); err != nil {
		return fmt.Errorf("netpoll: easygo del: %w", err)
	}
	return nil
}

func (p *easygoPoller) Wait(dst []Event, block bool) (int, error) {
	for {
		p.mu.Lock()
		n := min(len(dst), len(p.ready))
		for i, e := range p.ready[:n] {
			dst[i] = Event{FD: e.fd, Gen: e.gen, Ready: e.bits}
			e.bits = 0
		}
		p.ready = slices.Delete(p.ready, 0, n)
		p.mu.Unlock()
		if n > 0 || !block {
			return n, nil
		}
		<-p.signal
		block = false // a wake-up may have no event
	}
}

func (p *easygoPoller) Wake() {
	select {
	case p.signal <- struct{}{}:
	default:
	}
}

func (p *easygoPoller) Close() error { return p.ep.Close() }
