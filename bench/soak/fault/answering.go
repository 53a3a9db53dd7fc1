package fault

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"

	"github.com/coder/websocket"
)

// answering is a proxy that terminates WebSocket frames: it answers the pings of the server itself, and passes on
// messages only.
type answering struct {
	target string // address of the node
	listen string
	server *http.Server
	ctx    context.Context
	cancel context.CancelFunc
	links  sync.WaitGroup

	mu      sync.Mutex
	holding bool           // messages to clients are read and not passed on
	held    map[string]int // so many, by user
	broken  chan struct{}  // closed when all links break
	closed  bool
}

func newAnswering(ip, target string) (*answering, error) {
	l, err := net.Listen("tcp", ip+":0")
	if err != nil {
		return nil, fmt.Errorf("fault: %w", err)
	}
	p := &answering{target: target, listen: l.Addr().String(), held: make(map[string]int), broken: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.server = &http.Server{Handler: http.HandlerFunc(p.serve)}
	p.links.Go(func() { p.server.Serve(l) })
	return p, nil
}

// serve forwards one WebSocket connection until it ends, or all break.
func (p *answering) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.links.Add(1)
	broken := p.broken
	p.mu.Unlock()
	defer p.links.Done()
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	to := url.URL{Scheme: "ws", Host: p.target, Path: r.URL.Path, RawQuery: r.URL.RawQuery}
	offered := r.Header.Values("Sec-WebSocket-Protocol")
	back, resp, err := websocket.Dial(ctx, to.String(), &websocket.DialOptions{HTTPClient: dialer, Subprotocols: offered})
	if err != nil {
		status := http.StatusBadGateway
		if resp != nil {
			status = resp.StatusCode
		}
		http.Error(w, err.Error(), status)
		return
	}
	defer back.CloseNow()
	back.SetReadLimit(-1)
	front, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: offered})
	if err != nil {
		return
	}
	defer front.CloseNow()
	var both sync.WaitGroup
	both.Go(func() { defer cancel(); p.forward(ctx, back, front, r.URL.Query().Get("user")) })
	both.Go(func() { defer cancel(); p.forward(ctx, front, back, "") })
	select {
	case <-broken:
		cancel()
	case <-ctx.Done():
	}
	both.Wait()
}

// forward passes on messages for a user, or those of a client. It passes on nothing after what it has held.
func (p *answering) forward(ctx context.Context, from, to *websocket.Conn, user string) {
	holding := false
	for {
		kind, b, err := from.Read(ctx) // answers pings
		if err != nil {
			return
		}
		if holding = user != "" && p.hold(user, holding); holding {
			continue
		}
		if err := to.Write(ctx, kind, b); err != nil {
			return
		}
	}
}

// hold reports whether a message for a user is lost when the links break, because the proxy is stalled, or because a
// message before it is.
func (p *answering) hold(user string, before bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.holding || before {
		p.held[user]++
	}
	return p.holding || before
}

// stall makes the proxy pass on nothing to clients.
func (p *answering) stall() {
	p.mu.Lock()
	p.holding = true
	clear(p.held)
	p.mu.Unlock()
}

// holds returns how many messages for a user the proxy has not passed on.
func (p *answering) holds(user string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held[user]
}

// fail breaks all links, and with them everything that was not passed on. Links that follow work.
func (p *answering) fail() {
	p.mu.Lock()
	close(p.broken)
	p.broken, p.holding = make(chan struct{}), false
	p.mu.Unlock()
}

func (p *answering) close() {
	if p == nil {
		return
	}
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.server.Close()
	p.links.Wait()
}
