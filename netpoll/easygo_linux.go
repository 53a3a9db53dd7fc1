package netpoll

import (
	"fmt"
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
	ready  []Event // guarded by mu
	signal chan struct{}
}

const easygoBits = easygo.EPOLLIN | easygo.EPOLLOUT | easygo.EPOLLRDHUP | easygo.EPOLLET

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
	err := p.ep.Add(fd, easygoBits, func(bits easygo.EpollEvent) {
		// It may still come after Del: the generation tells.
		p.mu.Lock()
		p.ready = append(p.ready, Event{FD: int32(fd), Gen: gen, Ready: readiness(uint32(bits))})
		p.mu.Unlock()
		p.Wake()
	})
	if err != nil {
		p.ep.Del(fd) // a failed Add leaves its callback behind
		return fmt.Errorf("netpoll: easygo add: %w", err)
	}
	return nil
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
		n := copy(dst, p.ready)
		p.ready = append(p.ready[:0], p.ready[n:]...)
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
