package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

type contextKey struct{}

// An Identifier of a Mount sees the request of net/http, what middleware has put into its
// context, and TLS.
func TestMountIdentifierSees(t *testing.T) {
	for _, h := range []host{{name: "net/http"}, {name: "net/http TLS", tls: true}} {
		t.Run(h.name, func(t *testing.T) {
			said := make(chan string, 1)
			srv, m := bare(t, Config{HandshakeTimeout: time.Minute}, Endpoint{Identifier: func(ctx context.Context, r *Request) (Identity, error) {
				deadline, ok := ctx.Deadline()
				if !ok || time.Until(deadline) > time.Minute {
					t.Errorf("deadline %v, %t", deadline, ok)
				}
				said <- fmt.Sprint(ctx.Value(contextKey{}), r.HTTP().Context().Value(contextKey{}), r.Method(), r.Host(), r.Path(), r.Query("q"), r.QueryAll("q"),
					r.Header("x-y"), r.Headers("X-Y"), r.Cookie("c"), r.Cookie("d"), r.TLS() != nil, r.RemoteAddr().Addr().String())
				return Identity{User: "u"}, nil
			}})
			h.serve = func(t testing.TB, ln net.Listener, m *Mount) {
				serveHandler(t, ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					r = r.WithContext(context.WithValue(r.Context(), contextKey{}, "value"))
					m.ServeHTTP(w, r)
				}))
			}
			g := in(t, h, m)()
			g.enter(knock("/a%20b?q=1&q=2", "X-Y: z", "X-Y: zz", "Cookie: b=1; c=2"))
			want := fmt.Sprint("value", "value", "GET", "example.com", "/a%20b", "1", []string{"1", "2"}, "z", []string{"z", "zz"}, "2", "", h.tls, "127.0.0.1")
			if got := receive(t, "Identifier", said); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			if n := srv.Count(); n != 1 {
				t.Errorf("%d sessions", n)
			}
		})
	}
}

// The context of a Mount's Identifier ends when its client leaves, with the server, and
// with Config.HandshakeTimeout.
func TestMountIdentifierContext(t *testing.T) {
	for name, timeout := range map[string]time.Duration{"client leaves": time.Hour, "server ends": time.Hour, "timeout": tick} {
		t.Run(name, func(t *testing.T) {
			entered, ended := make(chan struct{}), make(chan error, 1)
			srv, m := bare(t, Config{HandshakeTimeout: timeout}, Endpoint{Identifier: func(ctx context.Context, r *Request) (Identity, error) {
				close(entered)
				<-ctx.Done()
				ended <- ctx.Err()
				return Identity{}, ctx.Err()
			}})
			g := in(t, hosts[0], m)()
			io.WriteString(g, knock("/"))
			receive(t, "Identifier", entered)
			want := context.Canceled
			switch name {
			case "client leaves":
				g.Close()
			case "server ends":
				srv.Shutdown(t.Context())
			default:
				want = context.DeadlineExceeded
			}
			if err := receive(t, "the context's end", ended); !errors.Is(err, want) {
				t.Errorf("the context ended with %v, want %v", err, want)
			}
		})
	}
}

// Where the HTTP server knows the client better than its connection does, that is the
// session's address.
func TestMountRemoteAddr(t *testing.T) {
	srv, m := bare(t, Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, Endpoint{Identifier: FromQuery})
	ln := loopback(t)
	serveHandler(t, ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if real := r.Header.Get("X-Real-Ip"); real != "" {
			r.RemoteAddr = real // chi's RealIP
		}
		m.ServeHTTP(w, r)
	}))
	for user, tt := range map[string]struct{ lines, want string }{
		"a": {"X: y", ""},
		"b": {"X-Real-Ip: 192.0.2.1", "192.0.2.1:0"},
		"c": {"X-Real-Ip: 192.0.2.1:4711", "192.0.2.1:4711"},
		"d": {"X-Real-Ip: 10.0.0.7\r\nX-Forwarded-For: 192.0.2.2", "192.0.2.2:0"},
		"e": {"X-Forwarded-For: 192.0.2.2", ""}, // the peer is not trusted
	} {
		g := newGuest(t, func() (net.Conn, error) { return net.Dial("tcp", ln.Addr().String()) })
		g.enter(knock("/?user="+user, tt.lines))
		want := tt.want
		if want == "" {
			want = g.LocalAddr().String()
		}
		await(t, "session", func() bool { return len(userSessions(srv, user)) == 1 })
		if got := only(t, srv, user).RemoteAddr().String(); got != want {
			t.Errorf("%s: %s, want %s", tt.lines, got, want)
		}
	}
}

// Begin, Adopt and Serve are all that an HTTP server of another kind needs.
func TestMountBeginAndServe(t *testing.T) {
	ep := EchoEndpoint("")
	srv, m := bare(t, Config{}, ep)
	ln := loopback(t)
	served := make(chan error, 1)
	go func() {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		br := bufio.NewReader(nc)
		r, err := http.ReadRequest(br)
		if err != nil {
			served <- err
			return
		}
		a, err := m.Begin(r.Context(), &HostedRequest{
			Method: []byte(r.Method), Proto: []byte(r.Proto), Path: []byte(r.URL.EscapedPath()),
			Header: func(yield func(name, value []byte) bool) {
				if !yield([]byte("Host"), []byte(r.Host)) {
					return
				}
				for name, values := range r.Header {
					if !yield([]byte(name), []byte(strings.Join(values, ","))) {
						return
					}
				}
			},
		}, &Identity{User: "u"})
		if err != nil {
			served <- err
			return
		}
		ahead, _ := br.Peek(br.Buffered())
		err = a.Serve(passing{nc}, ahead) // a connection without a descriptor stays in use
		nc.Close()
		served <- err
	}()
	g := newGuest(t, func() (net.Conn, error) { return net.Dial("tcp", ln.Addr().String()) })
	g.enter(knock("/"))
	g.say("x")
	g.wantText("x")
	select {
	case err := <-served:
		t.Fatalf("Serve has returned %v while the session is open", err)
	default:
	}
	if n := receivers(srv.Push(t.Context(), "u", NewMessage(Text, []byte("pushed")))); n != 1 {
		t.Errorf("a push reached %d", n)
	}
	g.wantText("pushed")
	g.Close()
	if err := receive(t, "Serve", served); err != nil {
		t.Error(err)
	}
	// A rejection is an answer for the HTTP server to give.
	_, err := m.Begin(t.Context(), &HostedRequest{Method: []byte("GET"), Proto: []byte("HTTP/1.1"), Path: []byte("/"), Header: func(func(_, _ []byte) bool) {}}, nil)
	var rejection *Rejection
	if !errors.As(err, &rejection) || rejection.Status != 400 {
		t.Errorf("a request without a Host: %v", err)
	}
}

// passing is a connection whose descriptor cannot be seen.
type passing struct{ net.Conn }

// An error of an Identifier that is not a Rejection is its caller's to examine.
func TestUpgradeErrorHasCause(t *testing.T) {
	cause := errors.New("database is down")
	_, m := bare(t, Config{}, Endpoint{Identifier: func(context.Context, *Request) (Identity, error) { return Identity{}, cause }})
	h := &HostedRequest{Method: []byte("GET"), Proto: []byte("HTTP/1.1"), Path: []byte("/"), Header: func(yield func(_, _ []byte) bool) {
		for line := range strings.SplitSeq(knock("/"), "\r\n") {
			if name, value, ok := strings.Cut(line, ": "); ok && !yield([]byte(name), []byte(value)) {
				return
			}
		}
	}}
	_, err := m.Begin(t.Context(), h, nil)
	var rejection *Rejection
	if !errors.As(err, &rejection) || rejection.Status != 500 || rejection.Text != "internal error" || !errors.Is(err, cause) {
		t.Errorf("%v", err)
	}
}
