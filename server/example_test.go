package server_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"fanfare/frame"
	"fanfare/server"
)

// A server with a listener of its own. A program that runs until a signal calls Run.
func ExampleNew() {
	srv, err := server.New(server.Config{
		Listen:    "127.0.0.1:0",
		Endpoints: []server.Endpoint{server.PushEndpoint("/ws")},
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := srv.Start(); err != nil {
		log.Fatal(err)
	}
	alice := dial("ws://"+srv.Addr().String()+"/ws?user=alice", "")
	fmt.Println(srv.Status(), srv.Count())

	go srv.Shutdown(context.Background())
	_, err = wsutil.ReadServerText(alice)
	fmt.Println(err)
	alice.Close()
	// Output:
	// serving 1
	// ws closed: 1001 server is going away; retry=5
}

// An Identifier says whose session it is. The query parameters that it reads are those that
// a client may send; an error of Reject is the answer to the client.
func ExampleIdentifier() {
	doors := server.Endpoint{Path: "/doors", NonBlocking: true, Identifier: func(_ context.Context, r *server.Request) (server.Identity, error) {
		door := r.Query("door")
		if r.Cookie("key") != "secret" {
			return server.Identity{}, server.Reject(http.StatusForbidden, "no key for door "+door)
		}
		return server.Identity{User: "door-" + door, Topics: []string{"doors"}}, nil
	}}
	srv, stop := startServer(server.Config{Endpoints: []server.Endpoint{doors}})
	defer stop()

	// With this header a plain request gets the answer that a handshake would get.
	check := func(query, cookie string) {
		r, err := http.NewRequest(http.MethodGet, "http://"+srv.Addr().String()+"/doors?"+query, nil)
		if err != nil {
			log.Fatal(err)
		}
		r.Header.Set("Fanfare-Check", "1")
		r.Header.Set("Cookie", cookie)
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			log.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		fmt.Print(resp.StatusCode, " ", string(body))
	}
	check("door=7", "key=secret")
	check("door=7", "")
	check("dor=7", "key=secret")
	// Output:
	// 200 the handshake would be accepted
	// 403 no key for door 7
	// 400 query parameter "dor" has no effect in a handshake without a sub-protocol: want door
}

// A push reaches every session of a user.
func ExampleServer_Push() {
	srv, stop := startServer(server.Config{Endpoints: []server.Endpoint{server.PushEndpoint("/ws")}})
	defer stop()
	alice := dial("ws://"+srv.Addr().String()+"/ws?user=alice", "")
	defer alice.Close()

	d, err := srv.Push(context.Background(), "alice", server.NewMessage(server.Text, []byte("hello, alice")))
	fmt.Println(d.Receivers, d.Complete(), err)
	alice.print(1)
	// Output:
	// 1 true <nil>
	// hello, alice
}

// Publish sends to the subscribers of a topic.
func ExampleServer_Publish() {
	srv, stop := startServer(server.Config{})
	defer stop()
	url := "ws://" + srv.Addr().String() + "/ws"
	alice, bob := dial(url+"?user=alice&topic=news", ""), dial(url+"?user=bob&topic=news&topic=sports", "")
	defer alice.Close()
	defer bob.Close()

	for _, topic := range []string{"news", "sports", "weather"} {
		d, err := srv.Publish(context.Background(), topic, server.NewMessage(server.Text, []byte("about "+topic)))
		fmt.Println(topic, d.Receivers, err)
	}
	alice.print(1)
	bob.print(2)
	// Output:
	// news 2 <nil>
	// sports 1 <nil>
	// weather 0 <nil>
	// about news
	// about news
	// about sports
}

// A message to a topic reaches its subscribers; here all but the one that sent it.
func ExampleServer_PublishExcept() {
	chat := server.PushEndpoint("/chat")
	chat.Hooks.OnMessage = func(s *server.Session, op server.Op, payload []byte) {
		m := server.NewMessage(op, fmt.Appendf(nil, "%s: %s", s.User(), payload))
		s.Server().PublishExcept(s.Context(), "room", m, s)
	}
	srv, stop := startServer(server.Config{Endpoints: []server.Endpoint{chat}})
	defer stop()
	url := "ws://" + srv.Addr().String() + "/chat?topic=room&user="
	alice, bob := dial(url+"alice", ""), dial(url+"bob", "")
	defer alice.Close()
	defer bob.Close()

	alice.send("hi")
	bob.print(1)
	bob.send("hello")
	alice.print(1)
	// Output:
	// alice: hi
	// bob: hello
}

// An endpoint inside a program that uses net/http. Its middleware runs first, and the
// Identifier sees what that has put into the request's context.
func ExampleServer_Mount() {
	srv, err := server.New(server.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Shutdown(context.Background())
	type userKey struct{}
	mount, err := srv.Mount(server.Endpoint{
		NonBlocking: true,
		Identifier: func(ctx context.Context, _ *server.Request) (server.Identity, error) {
			user, ok := ctx.Value(userKey{}).(string)
			if !ok {
				return server.Identity{}, server.Reject(http.StatusUnauthorized, "log in first")
			}
			return server.Identity{User: user}, nil
		},
		Hooks: server.Hooks{OnOpen: func(s *server.Session) { s.Send(server.Text, []byte("welcome, "+s.User())) }},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		if user, _, ok := r.BasicAuth(); ok {
			r = r.WithContext(context.WithValue(r.Context(), userKey{}, user))
		}
		mount.ServeHTTP(w, r)
	})
	web := httptest.NewServer(mux)
	defer web.Close()

	url := strings.Replace(web.URL, "http://", "ws://", 1) + "/ws"
	alice := dial(url, "", "Authorization", "Basic YWxpY2U6c2VjcmV0")
	defer alice.Close()
	alice.print(1)
	_, _, _, err = ws.Dial(context.Background(), url)
	fmt.Println(err)
	// Output:
	// welcome, alice
	// unexpected HTTP response status: 401
}

// lines is a dialect in which a client subscribes with "+topic" and gets messages with a
// line in front that says how long they are.
type lines struct{ server.WebSocket }

func (*lines) Protocol() string { return "lines" }

func (*lines) Encode(c server.Content) *frame.Prepared {
	return frame.Prepare(server.Text, fmt.Appendf(nil, "%d bytes\n%s", len(c.Payload), c.Payload))
}

func (*lines) Receive(s *server.Session, _ server.Op, payload []byte) {
	topic, ok := bytes.CutPrefix(payload, []byte("+"))
	if !ok || !s.MaySubscribe(string(topic)) {
		s.Close(4000, "expected +topic")
		return
	}
	s.Subscribe(string(topic))
	s.Reply(frame.Prepare(server.Text, fmt.Appendf(nil, "subscribed to %s", topic)))
}

// Begin is for dialects that tell clients where stored messages begin.
func (*lines) Begin(*server.Session, server.Position) {}

// Resume is for dialects whose clients say where they were.
func (*lines) Resume(*server.Request, string, []string) (map[string]server.Position, error) {
	return nil, nil
}

func (*lines) Acks() server.AckMode { return server.AckByPong }

// A dialect decides what messages look like on the wire, and what clients may say.
func ExampleDialect() {
	ep := server.PushEndpoint("/ws")
	ep.Dialects = []server.Dialect{server.Plain(), new(lines)}
	srv, stop := startServer(server.Config{Endpoints: []server.Endpoint{ep}})
	defer stop()
	url := "ws://" + srv.Addr().String() + "/ws?user="
	alice, bob := dial(url+"alice", "lines"), dial(url+"bob&topic=news", "")
	defer alice.Close()
	defer bob.Close()

	alice.send("+news")
	alice.print(1)
	srv.Publish(context.Background(), "news", server.NewMessage(server.Text, []byte("it works")))
	alice.print(1)
	bob.print(1)
	// Output:
	// subscribed to news
	// 8 bytes
	// it works
	// it works
}

// startServer starts a server for the examples, without a log.
func startServer(cfg server.Config) (srv *server.Server, stop func()) {
	cfg.Listen, cfg.Logger = "127.0.0.1:0", slog.New(slog.DiscardHandler)
	srv, err := server.New(cfg)
	if err == nil {
		err = srv.Start()
	}
	if err != nil {
		log.Fatal(err)
	}
	return srv, func() { srv.Shutdown(context.Background()) }
}

// client is a client for the examples.
type client struct {
	io.Reader
	io.WriteCloser
}

func dial(url, protocol string, header ...string) *client {
	d := ws.Dialer{}
	if protocol != "" {
		d.Protocols = []string{protocol}
	}
	if len(header) > 0 {
		d.Header = ws.HandshakeHeaderHTTP{header[0]: header[1:]}
	}
	conn, br, _, err := d.Dial(context.Background(), url)
	if err != nil {
		log.Fatal(err)
	}
	if br == nil {
		return &client{conn, conn}
	}
	return &client{io.MultiReader(io.LimitReader(br, int64(br.Buffered())), conn), conn}
}

func (c *client) send(text string) {
	if err := wsutil.WriteClientText(c, []byte(text)); err != nil {
		log.Fatal(err)
	}
}

// print prints the next n messages.
func (c *client) print(n int) {
	for range n {
		b, err := wsutil.ReadServerText(c)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", b)
	}
}
