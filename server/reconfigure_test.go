package server

import (
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"fanfare/frame"
	"fanfare/netpoll"
)

// liveFields are the fields of Config that Reconfigure changes, as its comment says.
var liveFields = strings.Fields("AllowOrigins TrustedProxies HandshakeTimeout HandshakesPerIP HandshakeRate MaxConnections " +
	"ConnectionsPerIP SessionsPerUser SessionsFull TopicsPerSession UserFull TopicFull PingInterval PingTimeout CloseTimeout " +
	"DrainDelay DrainRate DrainSpread")

// TestReconfigureFields: the fields that may change do, and no others.
func TestReconfigureFields(t *testing.T) {
	srv := start(t, Config{})
	was := srv.Config()
	next := was
	next.Listen, next.InsecureIdentity = "127.0.0.1:1", true
	next.Fallback = srv.fallback
	next.AllowOrigins, next.TrustedProxies = []string{"null"}, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	next.SessionsFull, next.UserFull, next.TopicFull = SessionsCloseOldest, FullDropOldest, FullClose
	next.Transport = netpoll.Goroutine
	v := reflect.ValueOf(&next).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); {
		case f.Type() == reflect.TypeFor[time.Duration]():
			f.SetInt(int64(3 * time.Second))
		case f.Kind() == reflect.Int:
			f.SetInt(2048)
		}
	}
	if err := srv.Reconfigure(next); err != nil {
		t.Fatal(err)
	}
	got := reflect.ValueOf(srv.Config())
	for i := range got.NumField() {
		name := got.Type().Field(i).Name
		if name == "Endpoints" || name == "Logger" || name == "Store" || name == "Cluster" || name == "Fallback" || name == "DurableTopics" {
			continue // without a value to compare
		}
		want := reflect.ValueOf(was).Field(i).Interface()
		if slices.Contains(liveFields, name) {
			want = reflect.ValueOf(next).Field(i).Interface()
			if reflect.DeepEqual(want, reflect.ValueOf(was).Field(i).Interface()) {
				t.Errorf("%s does not differ", name)
			}
		}
		if !reflect.DeepEqual(got.Field(i).Interface(), want) {
			t.Errorf("%s is %v, want %v", name, got.Field(i).Interface(), want)
		}
	}
	if srv.Config().Fallback != nil {
		t.Error("Fallback has changed")
	}
}

// TestReconfigureErrors: an error changes nothing.
func TestReconfigureErrors(t *testing.T) {
	srv := start(t, Config{})
	for _, test := range []struct {
		name   string
		change func(*Config)
		field  string
	}{
		{"a limit out of range", func(cfg *Config) { cfg.SessionsPerUser = -1 }, "SessionsPerUser"},
		{"another endpoint", func(cfg *Config) { cfg.Endpoints = append(slices.Clone(cfg.Endpoints), EchoEndpoint("/other")) }, "Endpoints"},
		{"an endpoint less", func(cfg *Config) { cfg.Endpoints = cfg.Endpoints[:1] }, "Endpoints"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := srv.live()
			cfg := srv.Config()
			cfg.AllowOrigins = []string{"*"}
			test.change(&cfg)
			var named interface{ Field() string }
			if err := srv.Reconfigure(cfg); !errors.As(err, &named) || named.Field() != test.field {
				t.Errorf("got %v, want an error in %s", err, test.field)
			}
			if srv.live() != before {
				t.Error("the configuration has changed")
			}
		})
	}
}

func TestReconfigureLimits(t *testing.T) {
	srv := start(t, Config{})
	first := dial(t, srv, "/ws?user=alice")
	change := func(f func(*Config)) {
		t.Helper()
		cfg := srv.Config()
		f(&cfg)
		if err := srv.Reconfigure(cfg); err != nil {
			t.Fatal(err)
		}
	}
	status := func(path string, lines ...string) int {
		t.Helper()
		c := connect(t, srv)
		defer c.Close()
		c.say(handshakeFor(path, lines...))
		return c.answer().StatusCode
	}
	const page = "Origin: https://app.example.com"
	for _, step := range []struct {
		name   string
		change func(*Config)
		path   string
		line   string
		want   int
	}{
		{"origin", func(*Config) {}, "/ws?user=bob", page, 403},
		{"origin is allowed", func(cfg *Config) { cfg.AllowOrigins = []string{"https://app.example.com"} }, "/ws?user=bob", page, 101},
		{"sessions", func(cfg *Config) { cfg.SessionsPerUser = 1 }, "/ws?user=alice", "X: y", 429},
		{"topics", func(cfg *Config) { cfg.TopicsPerSession = 1 }, "/ws?user=bob&topic=a&topic=b", "X: y", 400},
		{"connections", func(cfg *Config) { cfg.MaxConnections = 1 }, "/ws?user=bob", "X: y", 503},
		{"all back", func(cfg *Config) { cfg.MaxConnections, cfg.SessionsPerUser, cfg.TopicsPerSession = 0, 0, 0 }, "/ws?user=alice&topic=a&topic=b", "X: y", 101},
	} {
		change(step.change)
		await(t, "the session of the last step has ended", func() bool { return srv.connections.Load() == 1 })
		if got := status(step.path, step.line); got != step.want {
			t.Errorf("%s: %d, want %d", step.name, got, step.want)
		}
	}
	push(srv, "alice", Text, []byte("the first session stays"))
	first.want(Text, "the first session stays")
}

// TestReconfigureRate: a lower rate holds for sessions that are open.
func TestReconfigureRate(t *testing.T) {
	srv := start(t, Config{Endpoints: []Endpoint{{Path: "/echo", Hooks: EchoEndpoint("/echo").Hooks}}})
	c := dial(t, srv, "/echo")
	c.send(ws.OpText, "a")
	c.want(Text, "a")
	cfg := srv.Config()
	cfg.Endpoints = slices.Clone(cfg.Endpoints)
	cfg.Endpoints[0].Rate = Rate{Messages: 1}
	if err := srv.Reconfigure(cfg); err != nil {
		t.Fatal(err)
	}
	if got := srv.Config().Endpoints[0].Rate.Messages; got != 1 {
		t.Errorf("the rate in force is %d", got)
	}
	for range 50 { // far more than the burst of ten
		c.Conn.Write(masked(ws.OpText, true, []byte("b")))
	}
	if code := c.finish(); code != frame.StatusPolicyViolation {
		t.Errorf("closed with %d, want 1008", code)
	}
}

// TestReconfigureRace changes limits while clients connect and messages are published; the
// race detector is the judge.
func TestReconfigureRace(t *testing.T) {
	srv := start(t, Config{})
	var load sync.WaitGroup
	for i := range 3 {
		load.Go(func() {
			for range 30 {
				c := dial(t, srv, "/ws?user=u"+string(rune('a'+i))+"&topic=t")
				publish(srv, "t", Text, []byte("x"))
				c.Close()
			}
		})
	}
	for i := range 100 {
		cfg := srv.Config()
		cfg.SessionsPerUser, cfg.PingInterval = 50+i, time.Duration(1+i)*time.Second
		cfg.UserFull, cfg.TopicFull = FullDropOldest, FullClose
		cfg.Endpoints[0].Rate.Messages = 100 + i
		if err := srv.Reconfigure(cfg); err != nil {
			t.Error(err)
		}
	}
	load.Wait()
}
