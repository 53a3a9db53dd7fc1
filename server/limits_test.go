package server

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"fanfare/frame"
	"fanfare/netpoll"
	"fanfare/server/internal/limit"
)

// MaxConnections counts all connections, those in their handshake too.
func TestMaxConnections(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		srv := start(t, Config{Transport: transport, MaxConnections: 2})
		a := dial(t, srv, "/ws?user=a")
		silent := connect(t, srv)
		await(t, "two connections", func() bool { return srv.connections.Load() == 2 })
		for range 3 {
			c := connect(t, srv)
			resp := c.answer()
			if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
				t.Errorf("%d %v", resp.StatusCode, resp.Header)
			}
			explains(t, resp, c.head)
			c.wantEnd()
		}
		if full, rejected := srv.stats.Full.Load(), srv.engine.Stats().Rejected; full != 3 || rejected != 3 {
			t.Errorf("%d and %d were counted, want 3", full, rejected)
		}
		push(srv, "a", Text, []byte("still there"))
		a.want(Text, "still there")

		silent.Close()
		await(t, "there is room", func() bool { return srv.connections.Load() == 1 })
		b := dial(t, srv, "/ws?user=b")
		a.Close()
		await(t, "there is room", func() bool { return srv.connections.Load() == 1 })
		// An ordinary request counts until it is answered.
		plain := connect(t, srv)
		plain.say("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if line, err := plain.br.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 404") {
			t.Errorf("%q, %v", line, err)
		}
		plain.Close()
		b.Close()
		await(t, "all are gone", func() bool { return srv.connections.Load() == 0 })
	})
}

// A client whose connection is rejected at accept learns why, also if it sends its request
// before it reads the answer: a close with unread bytes would reset the connection.
func TestRejectedAtAccept(t *testing.T) {
	const tries = 200
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		for _, test := range []struct {
			name    string
			reject  func(t *testing.T, srv *Server)
			counter func(srv *Server) int64
		}{
			{"full", func(t *testing.T, srv *Server) {
				srv.connections.Add(1)
				t.Cleanup(func() { srv.connections.Add(-1) })
			}, func(srv *Server) int64 { return srv.stats.Full.Load() }},
			{"under pressure", func(_ *testing.T, srv *Server) { srv.memory.Observe(1, 1) }, func(srv *Server) int64 { return srv.stats.ShortOfMemory.Load() }},
		} {
			t.Run(test.name, func(t *testing.T) {
				srv, _ := startStopped(t, Config{Transport: transport, MaxConnections: 1})
				test.reject(t, srv) // the clock, which might find it otherwise, stands still
				for i := range tries {
					c := connect(t, srv)
					c.say(request())
					if i%2 == 0 { // the answer is there, and perhaps more than that
						await(t, "rejection", func() bool { return test.counter(srv) == int64(i+1) })
						c.say("and a little more")
					}
					resp := c.answer()
					if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
						t.Fatalf("%d %v", resp.StatusCode, resp.Header)
					}
					c.wantEnd()
					c.Close()
				}
				if n := test.counter(srv); n != tries {
					t.Errorf("%d were counted", n)
				}
			})
		}
	})
}

func TestConfigValidate(t *testing.T) {
	tests := []struct {
		name string
		cfg  Config
		want string // in the error; empty: none
	}{
		{"zero value", Config{}, ""},
		{"loopback", Config{Listen: "127.0.0.1:0"}, ""},
		{"Unix sockets", Config{Listen: "unix:/a"}, ""},
		{"names from the query, for the world", Config{Listen: ":80"}, "not loopback"},
		{"said to be so", Config{Listen: ":80", InsecureIdentity: true}, ""},
		{"negative limit", Config{MaxConnections: -1}, "MaxConnections is -1"},
		{"limit too high", Config{MaxHeader: 1 << 20}, "MaxHeader is 1048576"},
		{"time too short", Config{PingInterval: 1}, "PingInterval is 1ns"},
		{"time too long", Config{CloseTimeout: 25 * 60 * 60e9}, "CloseTimeout is 25h"},
		{"several faults at once", Config{MaxHeader: 1, DrainRate: -1}, "DrainRate is -1"},
		{"path without a slash", Config{Endpoints: []Endpoint{{Path: "ws"}}}, "begins with /"},
		{"path with a query", Config{Endpoints: []Endpoint{{Path: "/ws?a"}}}, "no query"},
		{"two endpoints at a path", Config{Endpoints: []Endpoint{{Path: "/a"}, {Path: "/a"}}}, "two endpoints"},
		{"sub-protocol that is not a token", Config{Endpoints: []Endpoint{{Path: "/a", Dialects: dialects("a b")}}}, "not a token"},
		{"origin with a path", Config{AllowOrigins: []string{"https://a/"}}, "allowed origin"},
		{"unknown transport", Config{Transport: netpoll.Transport(99)}, "transport"},
		{"tiny queue", Config{QueueBytes: 1}, "QueueBytes"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			srv, err := newServer(test.cfg)
			if err == nil {
				srv.end()
			}
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

// The echo endpoint is there to be measured with, and for the world it is an endpoint
// like any other.
func TestEchoRate(t *testing.T) {
	limited, free := Rate{Messages: 100, Bytes: 256 << 10}, 0
	tests := []struct {
		name, listen string
		rate         *Rate // nil: that of Echo
		want         int   // messages a second, 0 for no limit
	}{
		{"loopback", "127.0.0.1:0", nil, free},
		{"loopback IPv6", "[::1]:0", nil, free},
		{"localhost", "localhost:0", nil, free},
		{"Unix socket", "unix:/s", nil, free},
		{"every address", "0.0.0.0:0", nil, limited.Messages},
		{"every address, said shortly", ":0", nil, limited.Messages},
		{"one address", "192.0.2.1:0", nil, limited.Messages},
		{"no listener", "", nil, limited.Messages},
		{"said to be unlimited, for the world", "0.0.0.0:0", &Rate{Unlimited: true}, free},
		{"a limit of its own, for the world", "0.0.0.0:0", &Rate{Messages: 7, UnlimitedOnLoopback: true}, 7},
		{"and on loopback", "127.0.0.1:0", &Rate{Messages: 7, UnlimitedOnLoopback: true}, free},
		{"a limit on loopback", "127.0.0.1:0", &Rate{Messages: 7}, 7},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var endpoints []Endpoint // those of the zero Config
			if test.rate != nil {
				endpoints = []Endpoint{EchoEndpoint("/echo")}
				endpoints[0].Rate = *test.rate
			}
			cfg := Config{Listen: test.listen, InsecureIdentity: true, Endpoints: endpoints}
			if err := cfg.validate(); err != nil {
				t.Fatal(err)
			}
			echo := cfg.Endpoints[len(cfg.Endpoints)-1]
			got := echo.Rate.Messages
			if echo.Rate.Unlimited {
				got = free
			}
			if got != test.want {
				t.Errorf("%d messages a second, want %d", got, test.want)
			}
			if test.rate != nil && endpoints[0].Rate != *test.rate {
				t.Error("the caller's endpoint has changed, and may be for another server")
			}
		})
	}
}

// A warning tells when MaxConnections is more than the descriptors permit.
func TestMaxConnectionsBeyondDescriptors(t *testing.T) {
	room := limit.Divide(0).Public
	for most, warnings := range map[int]int{0: 0, 2: 0, 1 << 30: 1} {
		log := new(logBuffer)
		srv := start(t, Config{MaxConnections: most, Logger: log.logger()})
		if got := srv.Config().MaxConnections; most != 2 && got != room || most == 2 && got != 2 {
			t.Errorf("MaxConnections %d: %d are in force, of %d", most, got, room)
		}
		if n := log.count("too few file descriptors"); n != warnings {
			t.Errorf("MaxConnections %d: %d warnings, want %d", most, n, warnings)
		}
	}
}

// An error in a field of Config can be distinguished from others, so that a program can name it in
// words of its own.
func TestConfigErrorFields(t *testing.T) {
	for want, cfg := range map[string]Config{
		"PingInterval":        {PingInterval: 1},
		"DrainDelay":          {DrainDelay: -1},
		"Workers":             {Workers: -1},
		"QueueBytes":          {QueueBytes: 1},
		"Listen":              {Listen: ":80"},
		"DurableTopics":       {DurableTopics: []string{"a"}},
		"SessionsFull":        {SessionsFull: 9},
		"AllowOrigins":        {AllowOrigins: []string{"x"}},
		"Endpoints":           {Endpoints: []Endpoint{EchoEndpoint("/a"), EchoEndpoint("/a")}},
		"Path":                {Endpoints: []Endpoint{EchoEndpoint("a")}},
		"Dialects":            {Endpoints: []Endpoint{{Path: "/a", Dialects: dialects("a b")}}},
		"Rate.Bytes":          {Endpoints: []Endpoint{{Path: "/a", Rate: Rate{Bytes: -1}}}},
		"Deflate.ContextBits": {Endpoints: []Endpoint{{Path: "/a", Rules: frame.Rules{Deflate: frame.Deflate{ContextBits: 1}}}}},
	} {
		_, err := newServer(cfg)
		var e interface{ Field() string }
		if !errors.As(err, &e) || e.Field() != want || !strings.Contains(err.Error(), want+" ") {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// A descriptor limit that is too low is logged, with what to do.
func TestDescriptorWarnings(t *testing.T) {
	for _, test := range []struct {
		asked, room, open int
		want              string
	}{
		{0, 1 << 20, 1 << 21, ""},
		{0, 1 << 20, 0, ""}, // the limit is unknown
		{1 << 30, 1 << 20, 0, ""},
		{0, 3744, 4096, ""},
		{0, 3743, 4095, "few file descriptors"},
		{0, 1, 64, "few file descriptors"},
		{100, 200, 300, ""}, // enough for what was asked for
		{100, 100, 200, "few file descriptors"},
		{50_000, 15_000, 16_100, "too few file descriptors for MaxConnections"},
		{3000, 2999, 3290, "too few file descriptors for MaxConnections"},
	} {
		var log strings.Builder
		cfg := Config{MaxConnections: test.asked, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		if cfg.MaxConnections == 0 {
			cfg.MaxConnections = test.room
		}
		d := limit.Descriptors{Open: test.open, Public: test.room}
		warnAboutDescriptors(&cfg, d)
		if got, want := withinDescriptors(cfg.MaxConnections, d), min(cfg.MaxConnections, test.room); got != want && test.open > 0 {
			t.Errorf("%+v: %d connections, want %d", test, got, want)
		}
		if got := log.String(); (got == "") != (test.want == "") || !strings.Contains(got, `msg="`+test.want) && test.want != "" || test.want != "" && !strings.Contains(got, "ulimit -n") {
			t.Errorf("%+v: %s", test, got)
		}
	}
}
