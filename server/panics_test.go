package server

import (
	"fmt"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/gobwas/ws"

	"fanfare/frame"
	"fanfare/netpoll"
	"fanfare/server/internal/fanout"
)

// wantPanics waits until n panics have been counted, and looks for them in the log, with
// their stacks.
func wantPanics(t *testing.T, srv *Server, log *logBuffer, where string, n int64) {
	t.Helper()
	await(t, "a panic in "+where, func() bool { return srv.Stats().Panics >= n })
	if got := srv.Stats().Panics; got != n {
		t.Errorf("%d panics are counted, want %d", got, n)
	}
	if lines := log.count("where=" + where); lines == 0 && log.count(`where="`+where) == 0 {
		t.Errorf("no panic in %s is logged", where)
	}
	if log.count("_test.go") == 0 {
		t.Error("the log has no stack")
	}
}

// faulty is Plain with a method that panics.
type faulty struct {
	Dialect
	where atomic.Value // the name of the method
}

func newFaulty(method string) *faulty {
	f := &faulty{Dialect: Plain()}
	f.where.Store(method)
	return f
}

func (f *faulty) check(method string) {
	if f.where.Load() == method {
		panic("in " + method)
	}
}

func (f *faulty) Protocol() string                 { return "faulty" }
func (f *faulty) Encode(c Content) *frame.Prepared { f.check("Encode"); return f.Dialect.Encode(c) }
func (f *faulty) Begin(s *Session, p Position)     { f.check("Begin"); f.Dialect.Begin(s, p) }
func (f *faulty) Receive(s *Session, op Op, b []byte) {
	f.check("Receive")
	s.Send(op, b)
}
func (f *faulty) Resume(r *Request, user string, topics []string) (map[string]Position, error) {
	f.check("Resume")
	return f.Dialect.Resume(r, user, topics)
}
func (f *faulty) Goodbye(code Code, reason string) []byte {
	f.check("Goodbye")
	return f.Dialect.Goodbye(code, reason)
}
func (f *faulty) Heartbeat() []byte    { f.check("Heartbeat"); return f.Dialect.Heartbeat() }
func (f *faulty) Ping(p []byte) []byte { f.check("Ping"); return f.Dialect.Ping(p) }
func (f *faulty) Acks() AckMode        { f.check("Acks"); return f.Dialect.Acks() }

const speaksFaulty = "Sec-WebSocket-Protocol: faulty"

// A panic in a method of a dialect costs at most the session or the message that it
// happened for; other sessions go on.
func TestPanicInDialect(t *testing.T) {
	for _, test := range []struct {
		method string
		store  bool
		do     func(t *testing.T, srv *Server, h *manualClock)
	}{
		{"Resume", false, func(t *testing.T, srv *Server, _ *manualClock) {
			c := connect(t, srv)
			c.say(handshakeFor("/ws?user=a", speaksFaulty))
			if resp := c.answer(); resp.StatusCode != http.StatusInternalServerError {
				t.Errorf("status %d", resp.StatusCode)
			}
		}},
		{"Begin", false, func(t *testing.T, srv *Server, _ *manualClock) {
			dial(t, srv, "/ws?user=a", speaksFaulty).wantClose(StatusInternalError)
		}},
		{"Begin", true, func(t *testing.T, srv *Server, _ *manualClock) {
			dial(t, srv, "/ws?user=a", speaksFaulty).wantClose(StatusInternalError)
		}},
		{"Receive", false, func(t *testing.T, srv *Server, _ *manualClock) {
			c := dial(t, srv, "/ws?user=a", speaksFaulty)
			c.send(Text, "x")
			c.wantClose(StatusInternalError)
		}},
		{"Encode", false, func(t *testing.T, srv *Server, _ *manualClock) {
			c := dial(t, srv, "/ws?user=a", speaksFaulty)
			if n := push(srv, "a", Text, []byte("x")); n != 0 {
				t.Errorf("%d receivers", n)
			}
			// The message is lost, the session is not.
			c.send(ws.OpPing, "there")
			c.want(ws.OpPong, "there")
		}},
		{"Encode", true, func(t *testing.T, srv *Server, _ *manualClock) { // a stored message is not passed over
			dialect := srv.cfg.Endpoints[0].Dialects[1].(*faulty)
			dialect.where.Store("")
			c := dial(t, srv, "/ws?user=a", speaksFaulty)
			await(t, "the look at the inbox", func() bool { return srv.Stats().Replay.Sessions == 0 })
			dialect.where.Store("Encode")
			pushDurable(t, srv, "a", "x")
			c.wantClose(StatusInternalError)
			// The second attempt skips the message, for this dialect.
			c = dial(t, srv, "/ws?user=a", speaksFaulty)
			await(t, "the skip", func() bool { return srv.Stats().Replay.Skipped == 1 })
			dialect.where.Store("")
			pushDurable(t, srv, "a", "y")
			c.want(Text, "y")
			dial(t, srv, "/ws?user=a").want(Text, "x")
		}},
		{"Goodbye", false, func(t *testing.T, srv *Server, _ *manualClock) {
			c := dial(t, srv, "/ws?user=a", speaksFaulty)
			only(t, srv, "a").Close(4000, "reason")
			c.wantClose(4000)
		}},
		{"Heartbeat", false, func(t *testing.T, srv *Server, h *manualClock) {
			c := dial(t, srv, "/ws?user=a", speaksFaulty)
			h.until(t, "ping", 1, srv.stats.Pings.Load)
			c.want(ws.OpPing, "")
		}},
		{"Ping", true, func(t *testing.T, srv *Server, _ *manualClock) {
			pushDurable(t, srv, "a", "x")
			dial(t, srv, "/ws?user=a", speaksFaulty).want(Text, "x")
		}},
		{"Acks", true, func(t *testing.T, srv *Server, _ *manualClock) {
			pushDurable(t, srv, "a", "x")
			dial(t, srv, "/ws?user=a", speaksFaulty).want(Text, "x")
		}},
	} {
		t.Run(fmt.Sprintf("%s/store %t", test.method, test.store), func(t *testing.T) {
			overTransports(t, func(t *testing.T, transport netpoll.Transport) {
				log := new(logBuffer)
				cfg := Config{}
				if test.store {
					cfg = withInbox(t)
				}
				ep := PushEndpoint("/ws")
				ep.Dialects = []Dialect{Plain(), newFaulty(test.method)}
				cfg.Transport, cfg.Endpoints, cfg.Logger = transport, []Endpoint{ep}, log.logger()
				srv, h := startStopped(t, cfg)
				other := dial(t, srv, "/ws?user=other")
				test.do(t, srv, h)
				await(t, "the panic is counted", func() bool { return srv.Stats().Panics > 0 })
				if log.count("Dialect."+test.method) == 0 || log.count("panics_test.go") == 0 {
					t.Error("the panic, or its stack, is not logged")
				}
				push(srv, "other", Text, []byte("still there"))
				op, payload, err := other.frame()
				for err == nil && op == ws.OpPing {
					op, payload, err = other.frame()
				}
				if err != nil || string(payload) != "still there" {
					t.Errorf("another session got %q, %v", payload, err)
				}
			})
		})
	}
}

// A broadcast to so many sessions that several goroutines send it survives a panic, too.
func TestPanicInEncodeOfABroadcast(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3)) // one is left to others
	const receivers = 2*fanout.MinParallel + 10
	log := new(logBuffer)
	ep := PushEndpoint("/ws")
	ep.Dialects = []Dialect{Plain(), newFaulty("Encode")}
	srv := start(t, Config{Endpoints: []Endpoint{ep}, Logger: log.logger()})
	var plain *client
	for i := range receivers {
		c := dial(t, srv, fmt.Sprintf("/ws?user=u%d&topic=t", i), []string{speaksFaulty, "X: y"}[i%2])
		if i == 1 {
			plain = c
		}
	}
	m := NewMessage(Text, []byte("x"))
	for _, send := range []func() (Delivery, error){
		func() (Delivery, error) { return srv.Broadcast(t.Context(), m) },
		func() (Delivery, error) { return srv.Publish(t.Context(), "t", m) },
	} {
		if d, err := send(); d.Receivers != receivers/2 || err != nil {
			t.Errorf("%+v, %v, want %d receivers", d, err, receivers/2)
		}
		plain.want(Text, "x")
	}
	if n := srv.Stats().Panics; n < 1 || n > 2 { // once a message, twice if two goroutines meet
		t.Errorf("%d panics", n)
	}
}

// A panic in Config.Fallback costs its request.
func TestPanicInHandlers(t *testing.T) {
	log := new(logBuffer)
	srv := start(t, Config{Logger: log.logger(), Fallback: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("in Fallback") })})
	other := dial(t, srv, "/ws?user=other")
	c := connect(t, srv)
	c.say("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	c.wantGone()
	wantPanics(t, srv, log, "Config.Fallback", 1)
	push(srv, "other", Text, []byte("still there"))
	other.want(Text, "still there")
}

// A panic that a command of another node runs into is that node's error.
func TestPanicInCommand(t *testing.T) {
	log := new(logBuffer)
	srv := start(t, Config{Logger: log.logger()})
	users := srv.users
	srv.users = nil
	r := member{srv}.Serve(&Command{Verb: VerbPush, User: "a", Op: Text})
	srv.users = users
	if r.Error != "internal error" {
		t.Errorf("answered %+v", r)
	}
	wantPanics(t, srv, log, "command of another node", 1)
}
