package publisher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const timeout = 5 * time.Second

func publish(p *Publisher, ctx context.Context, payload string) (string, error) {
	b, err := p.Publish(ctx, &Message{Subject: "s", Payload: []byte(payload)})
	return string(b), err
}

// bubble runs f with fake time, a server and a publisher.
func bubble(t *testing.T, answer func(c net.Conn, m received), f func(t *testing.T, s *server, p *Publisher)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &server{t: t, answer: answer, open: make(chan struct{})}
		p := New(s.dial, timeout)
		defer p.Disconnect()
		f(t, s, p)
	})
}

// TestMessage: what the server gets, byte for byte, and what it answers.
func TestMessage(t *testing.T) {
	bubble(t, echo, func(t *testing.T, s *server, p *Publisher) {
		for _, m := range []Message{
			{Subject: "a.b", Payload: []byte("line\r\nend")},
			{Subject: "a", Header: []Field{{"One", "1"}, {"Two", "2 3"}}},
			{Subject: "long", Payload: []byte(strings.Repeat("x", 3*groupBytes))[:maxAnswer]},
		} {
			got, err := p.Publish(t.Context(), &m)
			if string(got) != string(m.Payload) || err != nil {
				t.Errorf("%s: answer %.20q, %v", m.Subject, got, err)
			}
		}
		for i, want := range []received{
			{"a.b", "", "NATS/1.0\r\n\r\n", "line\r\nend"},
			{"a", "", "NATS/1.0\r\nOne: 1\r\nTwo: 2 3\r\n\r\n", ""},
			{"long", "", "NATS/1.0\r\n\r\n", strings.Repeat("x", maxAnswer)},
		} {
			got := s.all[i]
			if want.reply = got.reply; got != want || !strings.HasSuffix(got.reply, ".0") {
				t.Errorf("got %.200v, want %.200v", got, want)
			}
		}
		if s.dials() != 1 {
			t.Errorf("%d connections", s.dials())
		}
	})
}

// gathered publishes a first message, which the server serves when it is open, and n more, one after
// another, which gather meanwhile. Their contexts are ctx(i).
func gathered(t *testing.T, p *Publisher, n int, ctx func(i int) context.Context) (answers []string, errs []error, wait func()) {
	answers, errs = make([]string, n+1), make([]error, n+1)
	var all sync.WaitGroup
	for i := range n + 1 {
		all.Go(func() { answers[i], errs[i] = publish(p, ctx(i), fmt.Sprint(i)) })
		synctest.Wait()
	}
	return answers, errs, all.Wait
}

func background(int) context.Context { return context.Background() }

// TestGroups: messages that come while others are on their way share a write, up to a bound, and
// keep their order.
func TestGroups(t *testing.T) {
	for _, test := range []struct{ n, writes int }{{0, 1}, {1, 2}, {16, 2}, {groupMessages, 2}, {groupMessages + 1, 3}} {
		bubble(t, echo, func(t *testing.T, s *server, p *Publisher) {
			answers, errs, wait := gathered(t, p, test.n, background)
			s.open <- struct{}{}
			wait()
			for i := range answers {
				if answers[i] != fmt.Sprint(i) || errs[i] != nil {
					t.Errorf("%d of %d: %q, %v", i, test.n, answers[i], errs[i])
				}
			}
			if want := strings.Join(answers, " "); s.payloads() != want || s.writes() != test.writes {
				t.Errorf("%d: %d writes, want %d; received %.100q", test.n, s.writes(), test.writes, s.payloads())
			}
		})
	}
}

// TestLongMessagesAreGroupsOfTheirOwn: a group is closed when it has enough bytes.
func TestLongMessagesAreGroupsOfTheirOwn(t *testing.T) {
	answer := func(c net.Conn, m received) { respond(c, m.reply, "ok") }
	bubble(t, answer, func(t *testing.T, s *server, p *Publisher) {
		var all sync.WaitGroup
		for _, payload := range []string{"0", strings.Repeat("x", groupBytes), strings.Repeat("y", groupBytes)} {
			all.Go(func() {
				if got, err := publish(p, t.Context(), payload); got != "ok" || err != nil {
					t.Errorf("%.1s: %q, %v", payload, got, err)
				}
			})
			synctest.Wait()
		}
		s.open <- struct{}{}
		all.Wait()
		if s.writes() != 3 {
			t.Errorf("%d writes, want 3", s.writes())
		}
	})
}

// TestCanceled: a caller that gives up gets the error of its context at once, also the one that
// would lead the group, and the others get their answers.
func TestCanceled(t *testing.T) {
	for canceled := 1; canceled <= 3; canceled++ {
		bubble(t, echo, func(t *testing.T, s *server, p *Publisher) {
			ctx, cancel := context.WithCancel(t.Context())
			answers, errs, wait := gathered(t, p, 3, func(i int) context.Context {
				if i == canceled {
					return ctx
				}
				return t.Context()
			})
			cancel()
			synctest.Wait()
			if errs[canceled] != context.Canceled {
				t.Errorf("%d: %v", canceled, errs[canceled])
			}
			s.open <- struct{}{}
			wait()
			for i := range answers {
				if i != canceled && (answers[i] != fmt.Sprint(i) || errs[i] != nil) {
					t.Errorf("%d canceled: %d gets %q, %v", canceled, i, answers[i], errs[i])
				}
			}
			synctest.Wait()
			if got, err := publish(p, t.Context(), "next"); got != "next" || err != nil {
				t.Errorf("%d canceled: next %q, %v", canceled, got, err)
			}
		})
	}
}

// TestNoAnswer: a message without an answer fails after the timeout, those of its group that were
// answered do not, and the next one goes over another connection.
func TestNoAnswer(t *testing.T) {
	answer := func(c net.Conn, m received) {
		if m.payload != "2" {
			echo(c, m)
		}
	}
	bubble(t, answer, func(t *testing.T, s *server, p *Publisher) {
		answers, errs, wait := gathered(t, p, 3, background)
		s.open <- struct{}{}
		began := time.Now()
		wait()
		if took := time.Since(began); took != timeout {
			t.Errorf("the group took %v", took)
		}
		for i := range answers {
			if i == 2 && !errors.Is(errs[i], context.DeadlineExceeded) || i != 2 && (answers[i] != fmt.Sprint(i) || errs[i] != nil) {
				t.Errorf("%d: %q, %v", i, answers[i], errs[i])
			}
		}
		if got, err := publish(p, t.Context(), "next"); got != "next" || err != nil || s.dials() != 2 {
			t.Errorf("next: %q, %v, %d connections", got, err, s.dials())
		}
	})
}

// TestHangs: when the server does not answer, all that has gathered fails with the first message.
func TestHangs(t *testing.T) {
	bubble(t, echo, func(t *testing.T, s *server, p *Publisher) {
		began := time.Now()
		_, errs, wait := gathered(t, p, groupMessages+1, background)
		wait()
		for i, err := range errs {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%d: %v", i, err)
			}
		}
		if took := time.Since(began); took != timeout {
			t.Errorf("took %v", took)
		}
		s.open <- struct{}{}
		if got, err := publish(p, t.Context(), "next"); got != "next" || err != nil {
			t.Errorf("next: %q, %v", got, err)
		}
	})
}

// TestIdleConnectionLost: a connection that was closed while it was idle is replaced, and a message of
// which the server may have read something is not sent again.
func TestIdleConnectionLost(t *testing.T) {
	bubble(t, echo, func(t *testing.T, s *server, p *Publisher) {
		publish(p, t.Context(), "1")
		s.conns[0].Close()
		if got, err := publish(p, t.Context(), "2"); got != "2" || err != nil {
			t.Errorf("after the server closed: %q, %v", got, err)
		}
		p.Disconnect()
		if got, err := publish(p, t.Context(), "3"); got != "3" || err != nil {
			t.Errorf("after Disconnect: %q, %v", got, err)
		}
		s.answer = func(c net.Conn, _ received) { c.Close() }
		if got, err := publish(p, t.Context(), "4"); !errors.Is(err, io.EOF) {
			t.Errorf("read and not answered: %q, %v", got, err)
		}
		if s.payloads() != "1 2 3 4" {
			t.Errorf("received %q", s.payloads())
		}
	})
}

// TestDisconnect: a message that is on its way fails at once, and one that has gathered goes over the next
// connection.
func TestDisconnect(t *testing.T) {
	bubble(t, echo, func(t *testing.T, s *server, p *Publisher) {
		answers, errs, wait := gathered(t, p, 1, background)
		began := time.Now()
		p.Disconnect()
		wait()
		s.open <- struct{}{}
		if errs[0] != ErrDisconnected || time.Since(began) != 0 {
			t.Errorf("%v after %v", errs[0], time.Since(began))
		}
		if answers[1] != "1" || errs[1] != nil {
			t.Errorf("gathered: %q, %v", answers[1], errs[1])
		}
	})
}

// TestBadAnswers: what is not an answer to a message in the group ends the connection.
func TestBadAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(reply string) string
		want   string // in the error; empty: none
	}{
		"pings, lines to skip":  {func(r string) string { return "PING\r\nINFO {}\r\n+OK\r\nMSG " + r + " 1 1\r\nx\r\n" }, ""},
		"no stream":             {func(r string) string { return "HMSG " + r + " 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n" }, ErrNoStream.Error()},
		"error":                 {func(string) string { return "-ERR 'Maximum Payload Violation'\r\n" }, "Maximum Payload"},
		"another connection's":  {func(r string) string { return "MSG " + replyPrefix + "ffffffff.0 1 1\r\nx\r\n" }, "unknown subject"},
		"another message's":     {func(r string) string { return "MSG " + strings.TrimSuffix(r, "0") + "7 1 1\r\nx\r\n" }, "does not wait"},
		"no number":             {func(r string) string { return "MSG " + r + "x 1 1\r\nx\r\n" }, "does not wait"},
		"negative length":       {func(r string) string { return "MSG " + r + " 1 -1\r\n" }, "bad length"},
		"too long":              {func(r string) string { return "MSG " + r + " 1 99999999\r\n" }, "bad length"},
		"no length":             {func(r string) string { return "MSG " + r + "\r\n" }, "bad length"},
		"a line without an end": {func(string) string { return strings.Repeat("x", 20<<10) }, "buffer full"},
	} {
		t.Run(name, func(t *testing.T) {
			answer := func(c net.Conn, m received) { io.WriteString(c, test.answer(m.reply)) }
			bubble(t, answer, func(t *testing.T, s *server, p *Publisher) {
				got, err := publish(p, t.Context(), "m")
				if test.want == "" && (got != "x" || err != nil) {
					t.Errorf("got %q, %v", got, err)
				}
				if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
					t.Errorf("got %q, %v, want an error with %q", got, err, test.want)
				}
			})
		})
	}
}

// TestDialFails: each message gets the error, and the next one dials again.
func TestDialFails(t *testing.T) {
	for name, test := range map[string]struct {
		dial   error
		greets string
		want   string
	}{
		"dial":     {net.ErrClosed, "", net.ErrClosed.Error()},
		"greeting": {nil, "-ERR 'Authorization Violation'\r\n", "Authorization Violation"},
		"silence":  {nil, "+OK\r\n", "no answer within 5s"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &server{t: t, answer: echo, greets: test.greets}
				failing := true
				p := New(func() (net.Conn, error) {
					if failing && test.dial != nil {
						return nil, test.dial
					}
					return s.dial()
				}, timeout)
				if _, err := publish(p, t.Context(), "1"); err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v, want %q", err, test.want)
				}
				failing, s.greets = false, ""
				if got, err := publish(p, t.Context(), "2"); got != "2" || err != nil {
					t.Errorf("then %q, %v", got, err)
				}
				p.Disconnect()
			})
		})
	}
}

// TestManyCallers: each gets its own answer, or the error that the server answers to it, and its messages
// arrive in its order.
func TestManyCallers(t *testing.T) {
	const callers, each = 16, 200
	s := &server{t: t, answer: func(c net.Conn, m received) { respond(c, m.reply, "answer to "+m.payload) }}
	p := New(s.dial, time.Minute)
	defer p.Disconnect()
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			for i := range each {
				ctx, cancel := context.WithCancel(t.Context())
				if i%10 == 9 {
					go cancel()
				}
				text := fmt.Sprint(caller, "/", i)
				if got, err := publish(p, ctx, text); err == nil && got != "answer to "+text || err != nil && err != context.Canceled {
					t.Errorf("%s: %q, %v", text, got, err)
				}
				cancel()
			}
		})
	}
	all.Wait()
	last := make(map[string]int)
	for _, payload := range strings.Split(s.payloads(), " ") {
		caller, n, _ := strings.Cut(payload, "/")
		var i int
		fmt.Sscan(n, &i)
		if i < last[caller] {
			t.Errorf("caller %s: %d after %d", caller, i, last[caller])
		}
		last[caller] = i
	}
	if s.writes() >= callers*each || s.dials() != 1 {
		t.Errorf("%d writes on %d connections", s.writes(), s.dials())
	}
}
