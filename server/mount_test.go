package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws/wsutil"
	"github.com/valyala/fasthttp"

	"fanfare/frame"
)

// In every host and over every transport: bytes after the request, echo, the
// host's deadlines, and the end.
func TestMountServes(t *testing.T) {
	type visit struct {
		name  string
		srv   *Server
		g     *guest
		ended chan frame.CloseError
	}
	var visits []*visit
	for _, kind := range transports {
		for _, h := range hosts {
			v := &visit{name: kind.String() + "/" + h.name, ended: make(chan frame.CloseError, 1)}
			ep := EchoEndpoint("")
			ep.AllowQuery = []string{"x"}
			ep.Hooks.OnClose = func(_ *Session, why frame.CloseError) { v.ended <- why }
			srv, m := bare(t, Config{Transport: kind, PingInterval: hostTimeout + time.Second}, ep)
			v.srv, v.g = srv, in(t, h, m)()
			visits = append(visits, v)
			t.Run(v.name+"/early", func(t *testing.T) {
				v.g.t = t
				var early bytes.Buffer
				early.WriteString(knock("/any?x=y"))
				text := strings.Repeat("early ", 4000) // more than hosts have read ahead, or less than they can
				wsutil.WriteClientText(&early, []byte(text))
				whole := early.Bytes()
				cut := len(whole) - 3
				v.g.enter(string(whole[:cut])) // a part of the frame arrives with the request
				v.g.Write(whole[cut:])
				v.g.wantText(text)
			})
		}
	}
	for _, v := range visits {
		t.Run(v.name+"/late", func(t *testing.T) {
			v.g.t = t
			// The ping comes after all of the host's deadlines.
			if head, err := v.g.r.Peek(2); err != nil || head[0] != 0x89 {
				t.Fatalf("want a ping, got % x, %v", head, err)
			}
			v.g.say("late")
			v.g.wantText("late") // answers the ping as well
			if n := v.srv.Count(); n != 1 {
				t.Errorf("%d sessions", n)
			}
			v.g.Close()
			if why := <-v.ended; why.Code != 1006 {
				t.Errorf("ended with %v", why)
			}
			eventually(t, "no session is left", func() bool { return v.srv.Count() == 0 && v.srv.connections.Load() == 0 })
		})
	}
}

// One descriptor and no goroutine per connection, and nothing of the request.
func TestMountCost(t *testing.T) {
	const n = 50
	for _, h := range hosts {
		if h.tls {
			continue
		}
		t.Run(h.name, func(t *testing.T) {
			opened := make(chan *Session, n)
			srv, m := bare(t, Config{}, Endpoint{Hooks: Hooks{OnOpen: func(s *Session) { opened <- s }}})
			dial := in(t, h, m)
			dial().enter(knock("/")) // whatever is made once is made
			<-opened
			files := descriptors(t)
			for range n {
				dial().enter(knock("/"))
				s := <-opened
				if s.ext.Load() != nil || s.endpoint() != m.ep {
					t.Fatal("a session keeps more than itself")
				}
			}
			// The client's, and ours. For a moment the host may have one more, of a connection that it accepts.
			eventually(t, "each connection has two descriptors, both ends included", func() bool {
				return descriptors(t)-files == 2*n
			})
			eventually(t, "no goroutine has a connection", func() bool {
				// fasthttp's own go on: they wait for the next connection.
				return !onStack("net/http.(*conn).serve", "fasthttp.hijackConnHandler", "netpoll.(*Conn).pump")
			})
			if srv.Count() != n+1 {
				t.Errorf("%d sessions", srv.Count())
			}
		})
	}
}

func onStack(functions ...string) bool {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	for _, f := range functions {
		if bytes.Contains(buf, []byte(f)) {
			return true
		}
	}
	return false
}

func TestMountIdentity(t *testing.T) {
	for _, h := range hosts {
		t.Run(h.name, func(t *testing.T) {
			opened := make(chan *Session, 1)
			srv, m := bare(t, Config{}, Endpoint{
				Dialects: dialects("chat", "news"),
				Identifier: func(_ context.Context, r *Request) (Identity, error) {
					return Identity{User: r.Query("user"), Topics: r.QueryAll("topic")}, nil
				},
				Hooks: Hooks{OnOpen: func(s *Session) { opened <- s }},
			})
			dial := in(t, h, m)
			// The same memory of the host serves one request after another.
			users := []string{"alice", "bobby", "carol", "a b", "ü"}
			var guests []*guest
			for _, u := range []string{"alice", "bobby", "carol", "a%20b", "%C3%BC"} {
				g := dial()
				resp, _ := g.ask(knock("/ws?user="+u+"&topic=t1&topic=t2", "Sec-WebSocket-Protocol: x, news", "Sec-WebSocket-Protocol: chat"))
				if got := resp.Header.Get("Sec-WebSocket-Protocol"); got != "news" {
					t.Fatalf("%s: protocol %q", resp.Status, got)
				}
				s := <-opened
				if s.Protocol() != "news" || len(s.Topics()) != 2 || !s.RemoteAddr().Addr().IsLoopback() {
					t.Errorf("session has %q, %q, %v", s.Protocol(), s.Topics(), s.RemoteAddr())
				}
				guests = append(guests, g)
			}
			for i, u := range users {
				if n := push(srv, u, Text, []byte("to "+u)); n != 1 {
					t.Errorf("push to %q reached %d", u, n)
				}
				guests[i].wantText("to " + u)
			}
		})
	}
}

// fasthttpmount.Upgrade takes the identity that it is given.
func TestUpgradeFastHTTP(t *testing.T) {
	srv, m := bare(t, Config{}, Endpoint{Identifier: func(context.Context, *Request) (Identity, error) {
		return Identity{}, Reject(500, "asked for no reason")
	}})
	errs := make(chan error, 1)
	ln := loopback(t)
	hs := &fasthttp.Server{MaxIdleWorkerDuration: 50 * time.Millisecond, Handler: func(ctx *fasthttp.RequestCtx) {
		errs <- FastHTTPUpgrade(m, ctx, Identity{User: string(ctx.QueryArgs().Peek("as"))})
	}}
	serveUntilEnd(t, func() { hs.Serve(ln) }, func() { hs.Shutdown() })
	dial := func() *guest {
		return newGuest(t, func() (net.Conn, error) { return net.Dial("tcp", ln.Addr().String()) })
	}
	g := dial()
	g.enter(knock("/?as=alice"))
	if err := <-errs; err != nil {
		t.Error(err)
	}
	if n := push(srv, "alice", Text, []byte("hi")); n != 1 {
		t.Errorf("push reached %d", n)
	}
	g.wantText("hi")
	resp, _ := dial().ask(knock("/?as=%00"))
	var rejection *Rejection
	if err := <-errs; resp.StatusCode != 400 || !errors.As(err, &rejection) || rejection.Status != 400 {
		t.Errorf("%s, %v", resp.Status, err)
	}
}

// A ResponseWriter that middleware has wrapped.
type wrapped struct{ http.ResponseWriter }

func (w wrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

type opaque struct{ http.ResponseWriter }

func TestUpgradeAfterMiddleware(t *testing.T) {
	tests := []struct {
		name   string
		wrap   func(http.Handler) http.Handler
		status int
	}{
		{"with Unwrap", func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(wrapped{wrapped{w}}, r) })
		}, 101},
		{"without", func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(opaque{w}, r) })
		}, 500},
		{"http.TimeoutHandler", func(h http.Handler) http.Handler { return http.TimeoutHandler(h, time.Minute, "") }, 500},
		{"http.StripPrefix", func(h http.Handler) http.Handler { return http.StripPrefix("/deep", h) }, 101},
		{"what it rewrites is not sent on", func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.Host = "a\r\nInjected: 1"
				r.Header["Host"] = []string{"b"}
				r.Header["In jected\r\n"] = []string{"2\r\nInjected: 2"}
				r.URL.RawQuery = "x HTTP/1.1\r\nInjected: 3"
				h.ServeHTTP(w, r)
			})
		}, 101},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, m := bare(t, Config{}, EchoEndpoint(""))
			errs := make(chan error, 1)
			ln := loopback(t)
			serveHandler(t, ln, test.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				errs <- m.Upgrade(w, r, Identity{})
			})))
			g := newGuest(t, func() (net.Conn, error) { return net.Dial("tcp", ln.Addr().String()) })
			resp, body := g.ask(knock("/deep/ws"))
			if resp.StatusCode != test.status {
				t.Fatalf("%s: %s", resp.Status, body)
			}
			err := <-errs
			if (err == nil) != (test.status == 101) {
				t.Errorf("Upgrade returned %v", err)
			}
			if test.status == 101 {
				if len(resp.Header) != 3 {
					t.Errorf("header is %q", resp.Header)
				}
				g.say("x")
				g.wantText("x")
			}
		})
	}
}

func TestUpgradeOverHTTP2(t *testing.T) {
	_, m := bare(t, Config{}, EchoEndpoint(""))
	errs := make(chan error, 1)
	ts := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		errs <- m.Upgrade(hijackPanics{w}, r, Identity{})
	}))
	ts.EnableHTTP2 = true
	ts.StartTLS()
	defer ts.Close()
	resp, err := ts.Client().Get(ts.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.ProtoMajor != 2 || resp.StatusCode != http.StatusHTTPVersionNotSupported {
		t.Errorf("%s %s", resp.Proto, resp.Status)
	}
	var rejection *Rejection
	if err := <-errs; !errors.As(err, &rejection) || rejection.Status != 505 {
		t.Errorf("Upgrade returned %v", err)
	}
}

// hijackPanics panics if the ResponseWriter in it cannot be hijacked, like the one of gin.
type hijackPanics struct{ http.ResponseWriter }

func (w hijackPanics) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.ResponseWriter.(http.Hijacker).Hijack()
}
