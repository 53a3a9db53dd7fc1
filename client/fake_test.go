package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fakeServer says exactly what a test wants. It runs in a bubble of synctest.
type fakeServer struct {
	t      *testing.T
	c      *Client
	cancel context.CancelFunc
	result error // of Run
	done   chan struct{}

	mu    sync.Mutex
	conns []*fakeConn
	fails []error // of the next handshakes
	lines []string
}

type fakeConn struct {
	query  []string
	header http.Header
	in     chan []byte
	out    []string // guarded by fakeServer.mu
	srv    *fakeServer
	over   chan struct{}
	once   sync.Once
	err    error
	mute   atomic.Bool // does not answer pings
}

// run runs a client against a fake server. subscribe is called before Run.
func run(t *testing.T, cfg Config, subscribe func(s *fakeServer)) *fakeServer {
	t.Helper()
	s := &fakeServer{t: t, done: make(chan struct{})}
	if cfg.URL == "" {
		cfg.URL = "ws://push.test/ws?a=1"
	}
	if cfg.Inbox == nil {
		cfg.Inbox = s.handler("inbox")
	}
	if cfg.Gap == nil {
		cfg.Gap = func(_ context.Context, topic string) { s.log("gap %s", topic) }
	}
	cfg.Error = func(err error) { s.log("%v", strings.TrimPrefix(err.Error(), "client: ")) }
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.c, c.dial = c, s.dial
	if subscribe != nil {
		subscribe(s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.cancel = cancel
	go func() {
		defer close(s.done)
		s.result = c.Run(ctx)
	}()
	synctest.Wait()
	return s
}

// end ends Run.
func (s *fakeServer) end() {
	s.cancel()
	<-s.done
}

func (s *fakeServer) handler(name string) Handler {
	return func(_ context.Context, m *Message) error {
		s.log("%s %s", name, m.Text())
		return nil
	}
}

func (s *fakeServer) log(format string, args ...any) {
	s.mu.Lock()
	s.lines = append(s.lines, strings.TrimSpace(fmt.Sprintf(format, args...)))
	s.mu.Unlock()
}

// expect wants these lines since the last call, in any order.
func (s *fakeServer) expect(want ...string) {
	s.t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	got := s.lines
	s.lines = nil
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		s.t.Fatalf("got %q, want %q", got, want)
	}
}

func (s *fakeServer) dial(_ context.Context, target string, header http.Header, _ func()) (conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	c := &fakeConn{header: header, in: make(chan []byte, 100), srv: s, over: make(chan struct{})}
	for name, values := range u.Query() {
		for _, v := range values {
			c.query = append(c.query, name+"="+v)
		}
	}
	slices.Sort(c.query)
	s.conns = append(s.conns, c)
	if len(s.fails) > 0 {
		err := s.fails[0]
		s.fails = s.fails[1:]
		return nil, err
	}
	return c, nil
}

// count returns the number of handshakes.
func (s *fakeServer) count() int {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

func (s *fakeServer) last() *fakeConn {
	s.count()
	return s.conns[len(s.conns)-1]
}

// say sends objects on the last connection.
func (s *fakeServer) say(objects ...string) *fakeConn {
	c := s.last()
	for _, o := range objects {
		c.in <- []byte(o)
	}
	synctest.Wait()
	return c
}

// drop ends the last connection and waits for the next one.
func (s *fakeServer) drop() {
	s.t.Helper()
	n := s.count()
	s.last().fail(&CloseError{Code: 1006, Err: errors.New("reset")})
	s.await(n + 1)
	s.expect("connection lost: reset")
}

// await waits until there were n handshakes.
func (s *fakeServer) await(n int) {
	s.t.Helper()
	for range 1000 {
		if s.count() >= n {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.t.Fatalf("%d handshakes, want %d", s.count(), n)
}

func (c *fakeConn) fail(err error) {
	c.once.Do(func() {
		c.err = err
		close(c.over)
	})
}

func (c *fakeConn) Read(ctx context.Context) ([]byte, error) {
	select {
	case b := <-c.in:
		return b, nil
	default:
	}
	select {
	case b := <-c.in:
		return b, nil
	case <-c.over:
		return nil, c.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *fakeConn) Write(_ context.Context, b []byte) error {
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	c.out = append(c.out, string(b))
	return nil
}

func (c *fakeConn) Ping(ctx context.Context) error {
	c.srv.log("ping")
	if c.mute.Load() {
		<-ctx.Done()
	}
	return ctx.Err()
}

func (c *fakeConn) Close()    { c.fail(&CloseError{Code: 1000}) }
func (c *fakeConn) CloseNow() { c.fail(&CloseError{Code: 1006, Err: errors.New("closed here")}) }

// sent wants these commands, in any order, since the connection began or the last call.
func (c *fakeConn) sent(want ...string) {
	c.srv.t.Helper()
	synctest.Wait()
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	got := c.out
	c.out = nil
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		c.srv.t.Fatalf("the client sent %q, want %q", got, want)
	}
}

func (c *fakeConn) named(want ...string) {
	c.srv.t.Helper()
	if !slices.Equal(c.query, want) {
		c.srv.t.Fatalf("the handshake named %q, want %q", c.query, want)
	}
}

func ack(topic string, offset int, epoch string) string {
	if topic != "" {
		topic = fmt.Sprintf(`"topic":%q,`, topic)
	}
	return fmt.Sprintf(`{"type":"ack",%s"offset":%d,"epoch":%q}`, topic, offset, epoch)
}

func hello(offset int, epoch string) string {
	return fmt.Sprintf(`{"type":"hello","user":"bob","offset":%d,"epoch":%q}`, offset, epoch)
}

func stored(offset int, epoch, text string) string {
	return fmt.Sprintf(`{"type":"message","offset":%d,"epoch":%q,"text":%q}`, offset, epoch, text)
}
