package storm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// client has one session of fanfare.v1 after the other.
type client struct {
	user   string
	failed *atomic.Int64 // handshakes

	conn   *websocket.Conn // nil: none
	err    error
	ticket string
	offset uint64
	epoch  string
}

// open connects and waits for hello with a position.
func (c *client) open(ctx context.Context, addr string) {
	header := http.Header{}
	if c.ticket != "" {
		header.Set("Authorization", "Ticket "+c.ticket)
	}
	url := "ws://" + addr + "/ws?user=" + c.user
	if c.epoch != "" {
		url += fmt.Sprintf("&offset=%d&epoch=%s", c.offset, c.epoch)
	}
	conn, resp, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPHeader: header, Subprotocols: []string{"fanfare.v1"}})
	if err != nil {
		if resp != nil {
			err = fmt.Errorf("status %d: %w", resp.StatusCode, err)
		}
		c.conn, c.err = nil, err
		return
	}
	for {
		var o struct {
			Type, Epoch, Ticket string
			Offset              uint64
		}
		_, b, err := conn.Read(ctx)
		if err == nil {
			err = json.Unmarshal(b, &o)
		}
		if err == nil && o.Type != "hello" {
			err = fmt.Errorf("unexpected message %q", b)
		}
		if err != nil {
			conn.CloseNow()
			c.conn, c.err = nil, err
			return
		}
		if o.Ticket != "" {
			c.ticket = o.Ticket
		}
		if o.Epoch != "" { // else the store has not answered yet, and a second hello follows
			c.conn, c.offset, c.epoch = conn, o.Offset, o.Epoch
			return
		}
	}
}

// comeBack waits for the end of the session and opens another one.
func (c *client) comeBack(ctx context.Context, addr string, spread time.Duration) {
	for err := error(nil); err == nil; {
		_, _, err = c.conn.Read(ctx)
	}
	for c.conn = nil; c.conn == nil && ctx.Err() == nil; {
		time.Sleep(rand.N(spread + 1))
		if c.open(ctx, addr); c.conn == nil {
			c.failed.Add(1)
		}
	}
}

// echoes are healthy sessions that send and receive the same message again and again.
type echoes struct {
	cancel  context.CancelFunc
	clients sync.WaitGroup

	mu    sync.Mutex
	times []time.Duration // guarded by mu
	err   error           // guarded by mu
}

func newEchoes(ctx context.Context, addr string, n int, every time.Duration) *echoes {
	ctx, cancel := context.WithCancel(ctx)
	e := &echoes{cancel: cancel}
	for range n {
		e.clients.Go(func() {
			err := e.run(ctx, addr, every)
			e.mu.Lock()
			defer e.mu.Unlock()
			if ctx.Err() == nil && e.err == nil {
				e.err = err
			}
		})
	}
	return e
}

func (e *echoes) run(ctx context.Context, addr string, every time.Duration) error {
	conn, _, err := websocket.Dial(ctx, "ws://"+addr+"/echo", nil)
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	payload := make([]byte, 128)
	for {
		began := time.Now()
		if err := conn.Write(ctx, websocket.MessageBinary, payload); err != nil {
			return err
		}
		if _, b, err := conn.Read(ctx); err != nil || len(b) != len(payload) {
			return errors.Join(fmt.Errorf("an echo has %d bytes", len(b)), err)
		}
		took := time.Since(began)
		e.mu.Lock()
		e.times = append(e.times, took)
		e.mu.Unlock()
		time.Sleep(every)
	}
}

// take returns the times since the last call, or why an echo failed.
func (e *echoes) take() ([]time.Duration, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	times := e.times
	e.times = nil
	return times, e.err
}

func (e *echoes) end() {
	e.cancel()
	e.clients.Wait()
}
