package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"fanfare/frame"
)

func linuxOnly(t testing.TB) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("a handover needs descriptors")
	}
}

// unixPair returns the ends of a Unix stream socket.
func unixPair(t testing.TB) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		ends[i] = c.(*net.UnixConn)
	}
	return ends[0], ends[1]
}

// successor returns a server that has taken over the sessions of another one.
func successor(t testing.TB, from *Server, cfg Config) *Server {
	t.Helper()
	cfg.Started = from.Started()
	to, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // the clients are closed later
		to.Shutdown(ctx)
	})
	from.timing.Answer, from.timing.Round = time.Minute, time.Minute // no test depends on how fast the other server answers
	a, b := unixPair(t)
	took := make(chan error, 1)
	go func() {
		_, err := to.TakeOver(context.Background(), b)
		took <- err
	}()
	h, err := from.HandOver(context.Background(), a)
	if err != nil {
		t.Fatalf("HandOver: %v", err)
	}
	if err := receive(t, "end of TakeOver", took); err != nil {
		t.Fatalf("TakeOver: %v", err)
	}
	if h.Left != 0 || from.Count() != 0 {
		t.Fatalf("%d connections and %d sessions are left: want none; %+v", h.Left, from.Count(), h)
	}
	return to
}

func bothEndpoints() []Endpoint {
	push, echo := PushEndpoint("/ws"), EchoEndpoint("/echo")
	push.Compress, echo.Compress = true, true
	push.Rules.Deflate.ContextBits, echo.Rules.Deflate.ContextBits = 15, 15
	return []Endpoint{push, echo}
}

// next returns the payload of the next message; it answers pings.
func (c *client) next() string {
	c.t.Helper()
	for {
		op, payload, err := c.frame()
		if err != nil {
			c.t.Fatalf("no message: %v", err)
		}
		switch op {
		case ws.OpPing:
			c.send(ws.OpPong, string(payload))
		case Text, Binary:
			return string(payload)
		}
	}
}

func TestHandOverInTheMiddle(t *testing.T) {
	linuxOnly(t)
	cfg := Config{Endpoints: bothEndpoints()}
	from := start(t, cfg)

	plain := dial(t, from, "/ws?user=alice&topic=news")
	v1 := dial(t, from, "/ws?user=bob&topic=news", "Sec-WebSocket-Protocol: fanfare.v1")
	if hello := v1.next(); !strings.Contains(hello, "hello") {
		t.Fatal(hello)
	}
	half := dial(t, from, "/echo")
	message := string(masked(Text, true, []byte("cut into halves")))
	half.say(message[:9])
	fragments := dial(t, from, "/echo")
	fragments.say(string(masked(Text, false, []byte("one "))))
	handshaking := connect(t, from)
	request := handshakeFor("/echo")
	handshaking.say(request[:40])
	silent := connect(t, from)
	closing := dial(t, from, "/ws?user=carol")
	await(t, "half messages", func() bool { return from.memory.Held() >= 2*256+40 })
	if n := from.disconnectHere("carol", 4001, "kicked"); n != 1 {
		t.Fatalf("closed %d sessions: want 1", n)
	}

	before := from.Sessions(context.Background(), "alice")
	to := successor(t, from, cfg)
	after := to.Sessions(context.Background(), "alice")
	if len(before.Sessions) != 1 || len(after.Sessions) != 1 || before.Sessions[0].ID != after.Sessions[0].ID ||
		before.Sessions[0].RemoteAddr != after.Sessions[0].RemoteAddr {
		t.Errorf("the session was %+v, and is %+v", before.Sessions, after.Sessions)
	}

	if d, err := to.Publish(context.Background(), "news", NewMessage(Text, []byte("rain"))); err != nil || d.Receivers != 2 {
		t.Errorf("published to %d sessions, %v: want 2", d.Receivers, err)
	}
	if got := plain.next(); got != "rain" {
		t.Errorf("alice got %q", got)
	}
	if got := v1.next(); !strings.Contains(got, `"text":"rain"`) {
		t.Errorf("bob got %q", got)
	}
	v1.send(Text, `{"type":"subscribe","topic":"sports"}`)
	if got := v1.next(); got != `{"type":"subscribe","topic":"sports"}` {
		t.Errorf("bob got %q: the right to subscribe has not moved", got)
	}
	half.say(message[9:])
	if got := half.next(); got != "cut into halves" {
		t.Errorf("half a message became %q", got)
	}
	fragments.say(string(masked(0, true, []byte("two"))))
	if got := fragments.next(); got != "one two" {
		t.Errorf("fragments became %q", got)
	}
	handshaking.say(request[40:])
	if resp := handshaking.answer(); resp.StatusCode != 101 {
		t.Errorf("half a request was answered %d", resp.StatusCode)
	}
	silent.say(request)
	if resp := silent.answer(); resp.StatusCode != 101 {
		t.Errorf("a connection that had sent nothing was answered %d", resp.StatusCode)
	}
	op, payload, err := closing.frame()
	if err != nil || op != ws.OpClose || string(payload) != closePayload(4001, "kicked") {
		t.Errorf("carol got %v %q %v: want the close frame", op, payload, err)
	}
	closing.send(ws.OpClose, closePayload(4001, ""))
	if _, _, err := closing.frame(); err == nil {
		t.Error("the closing handshake does not end")
	}
}

func TestHandOverOfQueues(t *testing.T) {
	linuxOnly(t)
	cfg := Config{Endpoints: bothEndpoints(), QueueBytes: 32 << 20, MaxPayload: 8 << 20}
	from := start(t, cfg)
	slow := dial(t, from, "/ws?user=slow")
	var want []string
	for i := range 12 {
		text := fmt.Sprintf("%d %s", i, strings.Repeat("x", 1<<20))
		want = append(want, text)
		if d, err := from.Push(context.Background(), "slow", NewMessage(Text, []byte(text))); err != nil || d.Receivers != 1 {
			t.Fatal(d, err)
		}
	}
	if from.engine.Stats().Queued == 0 {
		t.Fatal("nothing is queued: the test shows nothing")
	}
	to := successor(t, from, cfg)
	to.Push(context.Background(), "slow", NewMessage(Text, []byte("last")))
	for i, text := range append(want, "last") {
		if got := slow.next(); got != text {
			t.Fatalf("message %d begins %.20q: want %.20q", i, got, text)
		}
	}
	if n := to.engine.Stats().Queued; n != 0 {
		t.Errorf("%d bytes count as queued", n)
	}
}

// TestHandOverUnderPushes has sessions move in several rounds while goroutines push.
func TestHandOverUnderPushes(t *testing.T) {
	linuxOnly(t)
	cfg := Config{Endpoints: bothEndpoints(), QueueBytes: 1 << 20}
	from := start(t, cfg)
	from.timing.First = 3
	const sessions, pushers = 40, 3
	var clients []*client
	for i := range sessions {
		var lines []string
		if i%2 == 1 {
			lines = append(lines, "Sec-WebSocket-Protocol: fanfare.v1")
		}
		clients = append(clients, dial(t, from, fmt.Sprintf("/ws?user=u%d&topic=all", i), lines...))
	}
	var current sync.Map
	current.Store("srv", from)
	stop := make(chan struct{})
	counts := make([]int, pushers)
	var wg sync.WaitGroup
	for k := range pushers {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					counts[k] = i
					return
				default:
				}
				srv, _ := current.Load("srv")
				m := NewMessage(Text, fmt.Appendf(nil, "<%d %d>", k, i))
				var d Delivery
				switch s := srv.(*Server); k {
				case 0:
					d, _ = s.Publish(context.Background(), "all", m)
				case 1:
					d, _ = s.Broadcast(context.Background(), m)
				default:
					d, _ = s.PushMany(context.Background(), []string{"u0", "u1"}, []string{"all"}, m)
				}
				if d.Receivers != sessions {
					t.Errorf("push %d of pusher %d has %d receivers: want %d", i, k, d.Receivers, sessions)
				}
			}
		})
	}
	to := successor(t, from, cfg)
	for i := range 50 { // through the process that has no sessions any more
		from.Push(context.Background(), "u0", NewMessage(Text, fmt.Appendf(nil, "<9 %d>", i)))
	}
	current.Store("srv", to)
	time.Sleep(20 * time.Millisecond)
	close(stop)
	wg.Wait()
	to.Broadcast(context.Background(), NewMessage(Text, []byte("<end>")))
	for i, c := range clients {
		next := make(map[string]int)
		for {
			text := c.next()
			if strings.Contains(text, "<end>") {
				break
			}
			var k, n int
			at := strings.IndexByte(text, '<')
			if strings.Contains(text, "hello") {
				continue
			}
			if _, err := fmt.Sscanf(text[max(at, 0):], "<%d %d>", &k, &n); err != nil {
				t.Fatalf("session %d got %q", i, text)
			}
			name := fmt.Sprint(k)
			if n != next[name] {
				t.Fatalf("session %d got push %d of pusher %d: want %d", i, n, k, next[name])
			}
			next[name]++
		}
		for k, n := range counts {
			if next[fmt.Sprint(k)] != n {
				t.Fatalf("session %d got %d pushes of pusher %d: want %d", i, next[fmt.Sprint(k)], k, n)
			}
		}
	}
	if n := from.peerCount(); n != 1 {
		t.Errorf("the old process has %d links", n)
	}
}

func (srv *Server) peerCount() int {
	srv.moving.RLock()
	defer srv.moving.RUnlock()
	if srv.peer == nil {
		return 0
	}
	return 1
}

func TestHandOverOfTLS(t *testing.T) {
	linuxOnly(t)
	cfg := Config{Endpoints: bothEndpoints(), TLS: NewTLS(serverTLS(t))}
	from := start(t, cfg)
	c := connectTLS(t, from, clientTLS(tls.VersionTLS13))
	c.say(handshakeFor("/echo"))
	c.answer()
	c.send(Text, "before")
	if got := c.next(); got != "before" {
		t.Fatal(got)
	}
	to := successor(t, from, cfg)
	for i := range 5 {
		c.send(Text, fmt.Sprint("after ", i))
		if got := c.next(); got != fmt.Sprint("after ", i) {
			t.Fatal(got)
		}
	}
	to2 := successor(t, to, cfg)
	c.send(Text, "twice")
	if got := c.next(); got != "twice" {
		t.Fatal(got)
	}
	if n := to2.Count(); n != 1 {
		t.Fatalf("%d sessions: want 1", n)
	}
}

// TestHandOverLeaves12 shows that a connection of TLS 1.2 stays, gets pushes, and is closed with
// 1012.
func TestHandOverLeaves12(t *testing.T) {
	linuxOnly(t)
	cfg := Config{Endpoints: bothEndpoints(), TLS: NewTLS(serverTLS(t))}
	from := start(t, cfg)
	c := connectTLS(t, from, clientTLS(tls.VersionTLS12))
	c.say(handshakeFor("/ws?user=old"))
	c.answer()
	cfg.Started = from.Started()
	to := start(t, cfg)
	a, b := unixPair(t)
	go to.TakeOver(context.Background(), b)
	h, err := from.HandOver(context.Background(), a)
	if err != nil || h.Left != 1 || h.Sessions != 0 {
		t.Fatalf("%+v, %v: want one connection left", h, err)
	}
	await(t, "the link", func() bool { return to.peerCount() == 1 })
	if d, err := to.Push(context.Background(), "old", NewMessage(Text, []byte("hi"))); err != nil || d.Receivers != 1 {
		t.Fatalf("%d receivers, %v: want 1", d.Receivers, err)
	}
	if got := c.next(); got != "hi" {
		t.Fatal(got)
	}
	go from.Shutdown(context.Background())
	op, payload, err := c.frame()
	if err != nil || op != ws.OpClose || string(payload) != closePayload(frame.StatusServiceRestart, "service restart; retry=5") {
		t.Fatalf("got %v %q %v: want 1012", op, payload, err)
	}
	c.send(ws.OpClose, closePayload(frame.StatusServiceRestart, ""))
	await(t, "the end of the link", func() bool { return to.peerCount() == 0 })
}
