package netpoll

import (
	"fmt"
	"slices"
	"sync"

	easygo "github.com/mailru/easygo/netpoll"
)

// easygoPoller is a Poller on github.com/mailru/easygo. It uses only the epoll instance:
// the Handle functions would hold a second descriptor for each connection and make
// sockets blocking.
//
// easygo runs callbacks one after another in its own wait loop, so they only collect
// edges, and Wait returns them.
type easygoPoller struct {
	ep *easygo.Epoll

	mu     sync.Mutex
	ready  []*edge // guarded by mu
	signal chan struct{}
}

// edge is what happened to one descriptor since Wait returned it last. It is in the list
// at most once: otherwise, while no worker calls Wait, a peer could make the list grow
// with each byte that it sends.
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
		// An event may follow Del; its generation tells.
		p.collect(e, readiness(uint32(bits)))
	})
	if err != nil {
		p.ep.Del(fd) // a failed Add keeps its callback
		return fmt.Errorf("netpoll: easygo add: %w", err)
	}
	return nil
}

func (p *easygoPoller) collect(e *edge, bits Readiness) {
	if bits == 0 {
		return // the poller is closed
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
		block = false // a wake-up without an event returns 0
	}
}

func (p *easygoPoller) Wake() {
	select {
	case p.signal <- struct{}{}:
	default:
	}
}

func (p *easygoPoller) Close() error { return p.ep.Close() }
