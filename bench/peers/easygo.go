package peers

import (
	"errors"
	"net"
	"sync"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"github.com/mailru/easygo/netpoll"
)

// easygo follows the article "A Million WebSockets and Go" and the chat in gobwas/ws-examples: mailru/easygo watches the
// connections, and 128 goroutines read, write, upgrade and accept.
//
// It has the known properties of that design: a second descriptor per connection (netpoll.Handle*), reads and upgrades that
// block a goroutine of the pool, and a broadcast that schedules every write, so that writes to one connection may be
// reordered. Three things differ from the published program. Reads are one-shot: with edge-triggered ones a second message
// that arrives with the first one stays unread. The input/output timeout is 10 s instead of 100 ms, so that a busy machine
// does not close connections. And a failed write closes the connection: the published program writes the next frame after
// a partial one, which no client can read.
var easygo = Peer{
	Name:        "easygo",
	About:       "the published epoll design: mailru/easygo + gobwas/ws + a pool of 128 goroutines",
	Module:      "github.com/mailru/easygo",
	Descriptors: 2,
	Unordered:   true,
	Serve: func(o Options) error {
		poller, err := netpoll.New(nil)
		if err != nil {
			return err
		}
		s := &easygoServer{o: o, hub: newHub[*easygoConn](), poller: poller, pool: newPool(128, 1)}
		go s.hub.beat(o.Ping, func(c *easygoConn) { s.pool.schedule(func() { s.write(c, ws.CompiledPing) }, nil) })
		return first(s.listen, func() error { return serveAPI(o.API, s.hub, s.send) })
	},
}

type easygoServer struct {
	o      Options
	hub    *hub[*easygoConn]
	poller netpoll.Poller
	pool   *pool
}

type easygoConn struct {
	net.Conn
	read, mu sync.Mutex
	desc     *netpoll.Desc
	route    route
	gone     bool // guarded by read
}

func (s *easygoServer) write(c *easygoConn, frame []byte) {
	if c.write(frame) != nil {
		s.close(c)
	}
}

func (c *easygoConn) write(frame []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.SetWriteDeadline(time.Now().Add(writeLimit))
	_, err := c.Write(frame)
	return err
}

func (s *easygoServer) listen() error {
	l, err := net.Listen("tcp", s.o.Listen)
	if err != nil {
		return err
	}
	desc, err := netpoll.HandleListener(l, netpoll.EventRead|netpoll.EventOneShot)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	accepted := make(chan error, 1)
	err = s.poller.Start(desc, func(netpoll.Event) {
		// No accept while all goroutines are busy: the backpressure of the article.
		err := s.pool.schedule(func() {
			conn, err := l.Accept()
			accepted <- err
			if err == nil {
				s.open(conn)
			}
		}, time.After(time.Millisecond))
		if err == nil {
			err = <-accepted
		}
		switch {
		case errors.Is(err, errBusy):
			time.Sleep(5 * time.Millisecond)
		case err != nil:
			failed <- err
			return
		}
		s.poller.Resume(desc)
	})
	if err != nil {
		return err
	}
	return <-failed
}

func (s *easygoServer) open(conn net.Conn) {
	conn.SetDeadline(time.Now().Add(writeLimit))
	r, err := upgrade(conn)
	if err != nil {
		conn.Close()
		return
	}
	conn.SetDeadline(time.Time{})
	c := &easygoConn{Conn: conn, route: r}
	if c.desc, err = netpoll.HandleReadOnce(conn); err != nil {
		conn.Close()
		return
	}
	if !r.echo {
		s.hub.add(c, r)
	}
	s.poller.Start(c.desc, func(ev netpoll.Event) {
		if ev&(netpoll.EventReadHup|netpoll.EventHup) != 0 {
			s.pool.schedule(func() { s.close(c) }, nil)
			return
		}
		s.pool.schedule(func() {
			if err := s.receive(c); err != nil {
				s.close(c)
				return
			}
			s.poller.Resume(c.desc)
		}, nil)
	})
}

func (s *easygoServer) receive(c *easygoConn) error {
	c.read.Lock()
	defer c.read.Unlock()
	c.SetReadDeadline(time.Now().Add(writeLimit))
	p, op, err := readOne(c, &c.mu)
	if err != nil || p == nil || !c.route.echo {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return wsutil.WriteServerMessage(c, op, p)
}

func (s *easygoServer) close(c *easygoConn) {
	c.read.Lock()
	defer c.read.Unlock()
	if c.gone {
		return
	}
	c.gone = true
	s.poller.Stop(c.desc)
	c.desc.Close()
	c.Close()
	if !c.route.echo {
		s.hub.remove(c, c.route)
	}
}

func (s *easygoServer) send(to []*easygoConn, body []byte) {
	frame := ws.MustCompileFrame(ws.NewTextFrame(body))
	for _, c := range to {
		s.pool.schedule(func() { s.write(c, frame) }, nil)
	}
}

// A pool runs tasks on a bounded number of goroutines, which it starts on demand, as in the article.
type pool struct {
	slots chan struct{}
	work  chan func()
}

func newPool(size, queue int) *pool {
	return &pool{slots: make(chan struct{}, size), work: make(chan func(), queue)}
}

var errBusy = errors.New("peers: every goroutine of the pool is busy")

// schedule runs the task on a goroutine of the pool. It waits for one until timeout, which may be nil.
func (p *pool) schedule(task func(), timeout <-chan time.Time) error {
	select {
	case p.slots <- struct{}{}:
		go func() {
			defer func() { <-p.slots }()
			task()
			for next := range p.work {
				next()
			}
		}()
		return nil
	default:
	}
	select {
	case p.work <- task:
		return nil
	case <-timeout:
		return errBusy
	}
}
