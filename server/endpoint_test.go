package server

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"fanfare/frame"
)

// byPath is an endpoint whose users are named by the last segment of the path.
func byPath(path string) Endpoint {
	return Endpoint{Path: path, NonBlocking: true, Identifier: func(_ context.Context, r *Request) (Identity, error) {
		return Identity{User: r.Path(), Topics: []string{"first"}}, nil
	}}
}

func TestEndpointPattern(t *testing.T) {
	srv := start(t, Config{Endpoints: []Endpoint{byPath("/app/*"), byPath("/app/exact"), PushEndpoint("/ws")}})
	for _, path := range []string{"/app/key", "/app/exact", "/app/a%2Fb"} {
		dial(t, srv, path)
		if s := only(t, srv, path); s.User() != path {
			t.Errorf("%s belongs to %q", path, s.User())
		}
	}
	if path := only(t, srv, "/app/exact").endpoint().Path; path != "/app/exact" {
		t.Errorf("the pattern %s precedes the exact path", path)
	}
	for path, want := range map[string]int{"/app/": 404, "/app": 404, "/app/a/b": 404, "/ws/x": 404, "/app/key": 426} {
		if resp, _ := plainRequest(t, srv, "GET", path); resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
	for _, path := range []string{"/*/x", "/a*", "/a/*/*"} {
		if _, err := New(Config{Endpoints: []Endpoint{byPath(path)}}); err == nil || !strings.Contains(err.Error(), "last segment") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestEndpointAllowOrigins(t *testing.T) {
	open := PushEndpoint("/open")
	open.AllowOrigins = []string{"*"}
	srv := start(t, Config{Endpoints: []Endpoint{open, PushEndpoint("/ws")}})
	dial(t, srv, "/open?user=alice", "Origin: https://other.example")
	c := connect(t, srv)
	c.say("GET /ws?user=alice HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nOrigin: https://other.example\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if b := make([]byte, 12); true {
		if _, err := c.Read(b); err != nil || string(b) != "HTTP/1.1 403" {
			t.Errorf("another endpoint answered %q, %v", b, err)
		}
	}
	open.AllowOrigins = []string{"other.example"}
	if _, err := New(Config{Endpoints: []Endpoint{open}}); err == nil {
		t.Error("an origin without a scheme is accepted")
	}
}

// greeting is a dialect that greets.
type greeting struct{ plain }

func (*greeting) Greeting(s *Session) *frame.Prepared {
	return frame.Prepare(Text, []byte("hello "+s.User()))
}

// The greeting precedes every message, although the session is pushed to as soon as it is in
// the registry.
func TestGreeting(t *testing.T) {
	ep := PushEndpoint("/ws")
	ep.Dialects = []Dialect{new(greeting)}
	srv := start(t, Config{Endpoints: []Endpoint{ep}})
	stop := make(chan struct{})
	var pushing sync.WaitGroup
	pushing.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				push(srv, "alice", Text, []byte("pushed"))
			}
		}
	})
	for range 20 {
		c := dial(t, srv, "/ws?user=alice")
		c.want(Text, "hello alice")
		c.Conn.Close()
	}
	close(stop)
	pushing.Wait()
}

// topicLog records the calls of OnTopic and OnClose.
type topicLog struct {
	mu    sync.Mutex
	calls []string
}

func (l *topicLog) add(call string) {
	l.mu.Lock()
	l.calls = append(l.calls, call)
	l.mu.Unlock()
}

func (l *topicLog) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.calls)
}

func TestOnTopic(t *testing.T) {
	log := new(topicLog)
	ep := byPath("/app/*")
	ep.Hooks.OnTopic = func(s *Session, topic string, subscribed bool) {
		if subscribed {
			log.add("+" + topic)
		} else {
			log.add("-" + topic)
		}
	}
	ep.Hooks.OnClose = func(*Session, CloseError) { log.add("close") }
	srv := start(t, Config{Endpoints: []Endpoint{ep}, SessionsPerUser: 1, SessionsFull: SessionsCloseOldest, CloseTimeout: tick})
	c := dial(t, srv, "/app/a")
	s := only(t, srv, "/app/a")
	for range 2 { // the second time nothing changes
		if err := s.Subscribe("second"); err != nil {
			t.Fatal(err)
		}
	}
	srv.SubscribeUser(t.Context(), "/app/a", "third")
	s.Unsubscribe("second")
	s.Unsubscribe("second")
	if got, want := log.all(), []string{"+second", "+third", "-second"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	c.Conn.Close()
	await(t, "the session ends", func() bool { return len(log.all()) == 6 })
	end := log.all()[3:]
	slices.Sort(end[:2])
	if want := []string{"-first", "-third", "close"}; !slices.Equal(end, want) {
		t.Errorf("at the end %q, want %q", end, want)
	}

	// A session whose place is taken loses its topics, once.
	dial(t, srv, "/app/b")
	dial(t, srv, "/app/b").Conn.Close()
	await(t, "both sessions end", func() bool { return srv.Count() == 0 || len(log.all()) >= 10 })
	if got := log.all()[6:8]; !slices.Contains(got, "-first") {
		t.Errorf("after the place was taken: %q", got)
	}
}
