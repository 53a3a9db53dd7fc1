package client

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestCloseCodes is the table of docs/clients.md: whether the client reconnects, not before,
// and until when at the latest.
func TestCloseCodes(t *testing.T) {
	const s = time.Second
	never := func(int, string) (bool, bool) { return false, true }
	always := func(int, string) (bool, bool) { return true, true }
	for _, test := range []struct {
		code        int
		floor, most time.Duration // most 0: final
		cfg         Config
	}{
		{1001, 0, 5 * s, Config{}}, {1012, 0, 5 * s, Config{}}, {1013, s, 11 * s, Config{}}, {1011, s, 2 * s, Config{}},
		{1005, 0, s, Config{}}, {1006, 0, s, Config{}}, {1014, 0, s, Config{}}, {4000, 0, s, Config{}}, {4999, 0, s, Config{}},
		{3000, 0, s, Config{Token: func(context.Context) (string, error) { return "t", nil }}},
		{1000, 0, 0, Config{}}, {1002, 0, 0, Config{}}, {1003, 0, 0, Config{}}, {1007, 0, 0, Config{}}, {1008, 0, 0, Config{}},
		{1009, 0, 0, Config{}}, {3003, 0, 0, Config{}}, {3000, 0, 0, Config{}},
		{1008, 0, s, Config{Reconnect: always}}, {4001, 0, 0, Config{Reconnect: never}},
	} {
		t.Run(fmt.Sprint(test.code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := run(t, test.cfg, nil)
				srv.say(hello(1, "E1"))
				srv.last().fail(&CloseError{Code: test.code, Reason: "because"})
				if test.most == 0 {
					<-srv.done
					var closed *CloseError
					if !errors.As(srv.result, &closed) || closed.Code != test.code || srv.count() != 1 {
						t.Errorf("Run returned %v after %d handshakes", srv.result, srv.count())
					}
					return
				}
				synctest.Wait()
				if test.floor > 0 {
					time.Sleep(test.floor - 1)
					if srv.count() != 1 {
						t.Error("reconnected too soon")
					}
				}
				time.Sleep(test.most - test.floor + 1)
				if srv.count() != 2 {
					t.Errorf("%d handshakes", srv.count())
				}
				srv.end()
			})
		})
	}
}

// TestBackoff: random delays below a bound that doubles.
func TestBackoff(t *testing.T) {
	cfg := Config{MinDelay: 100 * time.Millisecond, MaxDelay: time.Second}
	for failures, bound := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
		bound *= time.Millisecond
		var least, most time.Duration = time.Hour, 0
		for range 1000 {
			d := cfg.backoff(failures, delay{})
			least, most = min(least, d), max(most, d)
		}
		if most > bound || most < bound*9/10 || least > bound/10 {
			t.Errorf("after %d failures: from %v to %v, want 0 to %v", failures, least, most, bound)
		}
	}
	if d := cfg.backoff(1000, delay{floor: time.Hour}); d < time.Hour || d > time.Hour+time.Second {
		t.Errorf("after 1000 failures: %v", d)
	}
}

// TestHandshakes: rejections, tokens, and topics that are not allowed.
func TestHandshakes(t *testing.T) {
	for _, test := range []struct {
		err   error
		final bool
		least time.Duration
	}{
		{&HandshakeError{Status: 400}, true, 0}, {&HandshakeError{Status: 401}, true, 0}, {&HandshakeError{Status: 403}, true, 0},
		{&HandshakeError{Status: 426}, true, 0}, {ErrProtocol, true, 0}, {&HandshakeError{Status: 404}, false, 0},
		{&HandshakeError{Status: 503, RetryAfter: 7 * time.Second}, false, 7 * time.Second},
		{&HandshakeError{Status: 429, RetryAfter: time.Hour}, false, 5 * time.Minute}, {&HandshakeError{Err: errors.New("refused")}, false, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			fails := func(s *fakeServer) { s.fails = []error{test.err} }
			s := run(t, Config{}, fails)
			if test.final {
				<-s.done
				if !errors.Is(s.result, test.err) {
					t.Errorf("%v: Run returned %v", test.err, s.result)
				}
				return
			}
			if test.least > 0 {
				time.Sleep(test.least - 1)
				if s.count() != 1 {
					t.Errorf("%v: reconnected too soon", test.err)
				}
			}
			time.Sleep(time.Second + 1)
			if s.count() != 2 {
				t.Errorf("%v: %d handshakes", test.err, s.count())
			}
			s.end()
		})
	}
}

func TestToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := []string{"one", "", "two"}
		s := run(t, Config{Token: func(context.Context) (string, error) {
			token := tokens[0]
			tokens = tokens[1:]
			if token == "" {
				return "", errors.New("no network")
			}
			return token, nil
		}}, nil)
		if got := s.last().header.Get("Authorization"); got != "Bearer one" {
			t.Errorf("sent %q", got)
		}
		s.say(hello(1, "E1")).fail(&CloseError{Code: 3000, Reason: "expired"})
		time.Sleep(5 * time.Second)
		s.expect(`closed with 3000 "expired"`, "no token: no network")
		if got := s.last().header.Get("Authorization"); got != "Bearer two" {
			t.Errorf("sent %q", got)
		}
		s.end()
	})
}

func TestTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := run(t, Config{}, func(s *fakeServer) { s.c.Subscribe("a", s.handler("a")) })
		c := s.say(hello(1, "E1"))
		for _, topic := range []string{"b", "c", "d"} {
			if err := s.c.Subscribe(topic, s.handler(topic)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if s.c.Subscribe("b", s.handler("b")) == nil || s.c.Subscribe("", s.handler("")) == nil {
			t.Error("subscribed twice, or to nothing")
		}
		c.sent(`{"type":"subscribe","topic":"b"}`) // an error names no topic: one is on its way at a time
		s.say(`{"type":"subscribe","topic":"b","offset":4,"epoch":"E1"}`)
		c.sent(`{"type":"subscribe","topic":"c"}`)
		s.say(`{"type":"error","code":"bad_offset","message":"?"}`, `{"type":"error","code":"forbidden","message":"no"}`)
		c.sent(`{"type":"subscribe","topic":"d"}`)
		s.expect("rejected: bad_offset: ?", `subscription to "c" rejected: forbidden: no`)
		s.say(`{"type":"subscribe","topic":"d"}`, `{"type":"message","topic":"b","offset":5,"epoch":"E1","text":"five"}`)
		s.expect("b five")
		c.sent(ack("b", 5, "E1"))
		s.c.Unsubscribe("b")
		s.c.Unsubscribe("b")
		c.sent(`{"type":"unsubscribe","topic":"b"}`)
		s.say(`{"type":"message","topic":"b","offset":6,"epoch":"E1","text":"six"}`)
		s.expect()
		s.c.Subscribe("b", s.handler("b"))
		c.sent(`{"type":"subscribe","topic":"b","offset":5,"epoch":"E1"}`)
		// A topic that was rejected does not make the next handshake fail.
		s.drop()
		s.last().named("a=1", "epoch.b=E1", "epoch=E1", "offset.b=5", "offset=1", "topic=a", "topic=b", "topic=d")
		s.say(hello(1, "E1")).sent(`{"type":"subscribe","topic":"c"}`)
		// A handshake that fails with 403 is repeated without topics.
		s.last().fail(&CloseError{Code: 1006, Err: errors.New("reset")})
		s.fails = []error{&HandshakeError{Status: 403, Text: "topic"}}
		s.await(s.count() + 2)
		s.last().named("a=1", "epoch=E1", "offset=1")
		s.end()
	})
}

func TestManyTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := run(t, Config{}, func(s *fakeServer) {
			for i := range 60 {
				s.c.Subscribe(fmt.Sprint(strings.Repeat("ü", 20), i), s.handler(""))
			}
		})
		c := s.last()
		if n := len(c.query) - 1; n < 20 || n > 40 {
			t.Errorf("the handshake names %d topics", n)
		}
		s.say(hello(1, "E1"))
		for n := len(c.query) - 1; n < 60; n++ {
			if len(c.out) != n-len(c.query)+2 {
				t.Fatalf("%d subscriptions were sent, %d topics named", len(c.out), len(c.query)-1)
			}
			s.say(strings.Replace(c.out[len(c.out)-1], "}", `,"offset":0,"epoch":"E1"}`, 1))
		}
		s.end()
	})
}

// TestSilence: a connection that is dead, and one on which hello does not come.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := run(t, Config{PingInterval: 10 * time.Second, PingTimeout: 5 * time.Second}, nil)
		time.Sleep(16 * time.Second)
		s.expect("handshake failed: no hello: client: connection lost: closed here")
		s.say(hello(1, "E1"))
		time.Sleep(20*time.Second + 1)
		s.expect("ping")
		s.last().mute.Store(true)
		time.Sleep(15 * time.Second)
		s.expect("ping", "connection lost: no answer to a ping within 5s")
		s.end()
	})
}

// TestAnotherUser: positions of one user are not used for another one.
func TestAnotherUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := run(t, Config{}, nil)
		s.say(hello(3, "E1"))
		s.drop()
		s.say(`{"type":"hello","user":"carol","offset":3,"epoch":"E1"}`)
		<-s.done
		if !errors.Is(s.result, ErrUser) {
			t.Errorf("Run returned %v", s.result)
		}
		if s.c.Run(t.Context()) == nil {
			t.Error("Run was called twice")
		}
	})
}

func TestConfig(t *testing.T) {
	for _, test := range []struct {
		cfg  Config
		want string
	}{
		{Config{URL: "ws://h/ws"}, ""}, {Config{URL: "https://h/ws"}, ""},
		{Config{}, "want ws://HOST/PATH"}, {Config{URL: "ftp://h/"}, "want ws://"}, {Config{URL: "ws:///x"}, "has no host"},
		{Config{URL: "ws://h/ws", Store: NewMemoryStore()}, "needs Config.User"}, {Config{URL: "ws://h/ws", MinDelay: -1}, "MinDelay is -1ns"},
		{Config{URL: "ws://h/ws", MaxPending: -1}, "MaxPending is -1"}, {Config{URL: "ws://h\x7f/"}, "Config.URL"},
	} {
		_, err := New(test.cfg)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%+v: %v, want %q", test.cfg, err, test.want)
		}
	}
}

// TestRefresh: a token is renewed before it expires, on the open session.
func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := []string{"one", "two", "", "four", "five"}
		s := run(t, Config{PingInterval: 1000 * time.Hour, Token: func(context.Context) (string, error) {
			token := tokens[0]
			tokens = tokens[1:]
			if token == "" {
				return "", errors.New("no network")
			}
			return token, nil
		}}, nil)
		s.say(`{"type":"hello","user":"bob","expires_in":100}`)
		time.Sleep(75*time.Second - 1)
		s.last().sent()
		time.Sleep(15*time.Second + 1)
		s.last().sent(`{"type":"refresh","token":"two"}`)
		s.say(`{"type":"refresh","expires":1,"expires_in":1000}`)
		s.expect()
		time.Sleep(900 * time.Second)
		s.expect("no token: no network")
		s.say(`{"type":"hello","user":"bob","expires_in":100}`, `{"type":"refresh"}`) // which expires no more
		time.Sleep(24 * time.Hour)
		s.last().sent()
		s.say(`{"type":"refresh","expires_in":10}`)
		s.drop() // which renews nothing
		time.Sleep(9 * time.Second)
		if got := s.last().header.Get("Authorization"); got != "Bearer four" || len(tokens) != 1 {
			t.Errorf("the next session has %q, %q are left", got, tokens)
		}
		s.end()
	})
	synctest.Test(t, func(t *testing.T) {
		s := run(t, Config{}, nil)
		s.say(`{"type":"hello","user":"bob","expires_in":10}`)
		time.Sleep(9 * time.Second)
		s.last().sent() // without Config.Token
		s.end()
	})
	for range 1000 {
		if d := refreshAfter(1000); d < 750*time.Second || d > 900*time.Second {
			t.Fatalf("refresh after %v of 1000 s", d)
		}
	}
	if d := refreshAfter(math.MaxInt64); d <= 0 || d > 30*24*time.Hour {
		t.Errorf("refresh after %v of for ever", d)
	}
}

// TestRetryWithin: what a close reason asks for.
func TestRetryWithin(t *testing.T) {
	for _, test := range []struct {
		reason string
		want   time.Duration
		ok     bool
	}{
		{"server is going away; retry=7", 7 * time.Second, true},
		{"a; b=c;retry=0", 0, true},
		{"; retry=4000000", mostRetryAfter, true},
		{"", 0, false}, {"retry=7", 0, false}, {"a; retry", 0, false}, {"a; retry=-1", 0, false}, {"a; retry=1s", 0, false},
		{"a; retry=99999999999", 0, false}, {"a; retries=7", 0, false},
	} {
		got, ok := retryWithin(test.reason)
		if ok != test.ok || ok && got != test.want {
			t.Errorf("%q: %v, %v, want %v, %v", test.reason, got, ok, test.want, test.ok)
		}
	}
	for _, code := range []int{1001, 1012} {
		if d, ok := afterClose(code, "a; retry=60", false); !ok || d.spread != time.Minute {
			t.Errorf("%d: %v, %v", code, d, ok)
		}
	}
}
