package load

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// The messages were recorded from Centrifugo v6.9.1 and nats-server v2.15.2.
const (
	centrifugoConnected = `{"connect":{"client":"a706a10b-32b0-42eb-81bd-80ad51624fe3","version":"6.9.1 OSS","subs":{"all":{},"#u1":{}},"expires":true,"ttl":3600,"ping":2,"session":"75d00e3e-aac6-4251-99b6-9477d10f5ded"}}`
	natsInfo            = `INFO {"server_id":"NB","version":"2.15.2","proto":1,"headers":true,"max_payload":1048576,"auth_required":true} ` + "\r\n"
)

func TestNext(t *testing.T) {
	for _, tt := range []struct {
		dialect, in string
		want        what
		payload     string
		used        int
		answer      string
		wrong       bool
	}{
		{dialect: Centrifugo, in: centrifugoConnected, want: isConfirmed, used: len(centrifugoConnected)},
		{dialect: Centrifugo, in: `{}`, want: isPing, used: 2},
		{dialect: Centrifugo, in: `{"channel":"all","pub":{"data":"x"}}`, want: isMessage, payload: `"x"`, used: 36},
		{dialect: Centrifugo, in: `{"channel":"#u1","pub":{"data":"yz","offset":7}}`, want: isMessage, payload: `"yz"`, used: 48},
		{dialect: Centrifugo, in: `{"channel":"all","pub":{"data":{"a":1}}}`, wrong: true},
		{dialect: Centrifugo, in: `{"channel":"all","join":{"info":{}}}`, wrong: true},
		{dialect: Centrifugo, in: `{"disconnect":{"code":3500,"reason":"invalid token"}}`, wrong: true},
		{dialect: NATS, in: natsInfo, want: isNothing, used: len(natsInfo)},
		{dialect: NATS, in: natsInfo[:20]},
		{dialect: NATS, in: "PONG\r\nMSG", want: isConfirmed, used: 6},
		{dialect: NATS, in: "PING\r\n", want: isPing, used: 6, answer: "PONG\r\n"},
		{dialect: NATS, in: "MSG user.u1 2 3\r\n\"x\"\r\nPING\r\n", want: isMessage, payload: `"x"`, used: 22},
		{dialect: NATS, in: "MSG user.u1 2 3\r\n\"x\"\r"},
		{dialect: NATS, in: "MSG user.u1 2 2\r\n\"x\"\r\n", wrong: true},
		{dialect: NATS, in: "MSG user.u1 2 x\r\n", wrong: true},
		{dialect: NATS, in: "MSG\r\n", wrong: true},
		{dialect: NATS, in: "-ERR 'Authorization Violation'\r\n", wrong: true},
		{dialect: NATS, in: strings.Repeat("x", 5<<10), wrong: true},
	} {
		t.Run(tt.dialect+" "+tt.in[:min(30, len(tt.in))], func(t *testing.T) {
			d, err := speak(tt.dialect)
			if err != nil {
				t.Fatal(err)
			}
			got := d.next([]byte(tt.in))
			if (got.err != nil) != tt.wrong {
				t.Fatal(got.err)
			}
			if !tt.wrong && (got.what != tt.want || string(got.payload) != tt.payload || got.used != tt.used || string(got.answer) != tt.answer) {
				t.Errorf("%+v, payload %q, answer %q", got, got.payload, got.answer)
			}
		})
	}
}

func TestSpeak(t *testing.T) {
	if _, err := New(Config{Dialect: "klingon"}); err == nil || !strings.Contains(err.Error(), `"klingon"`) {
		t.Error(err)
	}
}

// TestDialects opens sessions with tokens at servers that confirm them late, and receives messages in every division.
func TestDialects(t *testing.T) {
	user := func(seq uint32) []byte { return Message{Kind: KindUser, Target: 1, Seq: seq, At: 5}.Append(nil, 64) }
	msg := func(seq uint32) string { return fmt.Sprintf("MSG user.u1 2 64\r\n%s\r\n", user(seq)) }
	for _, tt := range []struct {
		dialect string
		hello   []string // parts of what the client sends first
		confirm []string // messages, the last of which confirms the session
		pushes  []string
		answers string // of the client to pings
	}{
		{
			dialect: Centrifugo, hello: []string{`{"token":"secret1"}`}, confirm: []string{centrifugoConnected},
			pushes: []string{fmt.Sprintf(`{"channel":"#u1","pub":{"data":%s}}`, user(0)), `{}`, fmt.Sprintf(`{"channel":"#u1","pub":{"data":%s}}`, user(1))},
		},
		{
			dialect: NATS, hello: []string{`"jwt":"secret1"`, "SUB all 1\r\n", "SUB user.u1 2\r\n", "PING\r\n"},
			confirm: []string{natsInfo[:30], natsInfo[30:] + "PO", "NG\r\nPING\r\n"},
			pushes:  []string{msg(0)[:9], msg(0)[9:40], msg(0)[40:] + msg(1)},
			answers: "PONG\r\n",
		},
	} {
		t.Run(tt.dialect, func(t *testing.T) {
			heard := make(chan string, 100)
			s := newLiar(t, func(s *liar) {
				s.answer = func(_ byte, p []byte) [][]byte {
					heard <- string(p)
					return nil
				}
			})
			c, err := New(Config{Addr: s.addr, Dialect: tt.dialect})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Close)
			done := make(chan struct{})
			go func() { // the server
				defer close(done)
				hello := <-heard
				for _, part := range tt.hello {
					if !strings.Contains(hello, part) {
						t.Errorf("%q is not in %q", part, hello)
					}
				}
				for _, p := range tt.confirm {
					s.push(0, rawFrame(0x82, []byte(p)))
				}
			}()
			r := c.Dial(DialPlan{Count: 1, First: 1, Window: 1, Path: "/", Tokens: []string{"secret1"}, Limit: 10 * time.Second})
			<-done
			if f := c.Faults(); r.Opened != 1 || f.Err() != nil {
				t.Fatalf("%d opened: %v", r.Opened, f.Err())
			}
			receiver := c.Receive(ReceivePlan{Size: 64}, func(Arrival) {})
			for _, p := range tt.pushes {
				s.push(0, rawFrame(0x82, []byte(p)))
			}
			c.Run(func() bool { return receiver.Received() == 2 || c.faults.Total() > 0 })
			receiver.Finish(0)
			if f := c.Faults(); f.Err() != nil {
				t.Error(f.Err())
			}
			if tt.answers != "" {
				if got := <-heard; got != tt.answers {
					t.Errorf("answered %q", got)
				}
			}
			s.push(0, rawFrame(0x81, []byte("-ERR\r\n")))
			c.Run(func() bool { return c.live == 0 || c.faults.Total() > 0 })
			if c.faults.Protocol != 1 {
				t.Errorf("%+v", c.faults)
			}
			c.Faults()
		})
	}
}

// TestEvents reads server-sent events in chunks and without, plain and in a dialect.
func TestEvents(t *testing.T) {
	user := func(seq uint32) []byte { return Message{Kind: KindUser, Target: 0, Seq: seq, At: 5}.Append(nil, 64) }
	plain := fmt.Sprintf("retry: 3000\n\n:\n\ndata: %s\nid: 7\n\n", user(0))
	tests := map[string]struct {
		dialect string
		length  bool // the body has no chunks
		pieces  []string
		fault   bool
	}{
		"chunks":          {pieces: []string{plain, fmt.Sprintf("id: 8\ndata:%s\n\n", user(1))}},
		"split events":    {pieces: []string{plain[:30], plain[30:70], plain[70:] + "data: " + string(user(1)) + "\n", "\n"}},
		"no chunks":       {length: true, pieces: []string{plain[:50], plain[50:] + fmt.Sprintf("data: %s\n\n", user(1))}},
		"centrifugo":      {dialect: Centrifugo, pieces: []string{"data: " + centrifugoConnected + "\n\n", fmt.Sprintf("data: {\"channel\":\"#u0\",\"pub\":{\"data\":%s}}\n\ndata: {}\n\ndata: {\"channel\":\"#u0\",\"pub\":{\"data\":%s}}\n\n", user(0), user(1))}},
		"closed":          {pieces: []string{plain, "event: close\ndata: {\"code\":1008}\n\n"}, fault: true},
		"two lines":       {pieces: []string{"data: \"x\ndata: y\"\n\n"}, fault: true},
		"end":             {pieces: []string{plain}, fault: true},
		"end, no chunks":  {length: true, pieces: []string{plain}, fault: true},
		"another payload": {pieces: []string{plain, "data: hello\n\n"}, fault: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			start, end := make(chan struct{}), make(chan struct{})
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.RequestURI() != "/sse?user=u0&token=secret" || r.Header.Get("Accept") != "text/event-stream" {
					t.Errorf("%s %v", r.URL, r.Header)
				}
				pieces := tt.pieces
				if tt.length {
					c, _, err := w.(http.Hijacker).Hijack()
					if err != nil {
						t.Error(err)
						return
					}
					defer c.Close()
					io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n")
					<-start
					for _, p := range pieces {
						io.WriteString(c, p)
					}
				} else {
					w.Header().Set("Content-Type", "text/event-stream")
					flusher := w.(http.Flusher)
					flusher.Flush()
					if tt.dialect != "" {
						io.WriteString(w, pieces[0])
						flusher.Flush()
						pieces = pieces[1:]
					}
					<-start
					for _, p := range pieces {
						io.WriteString(w, p)
						flusher.Flush()
					}
				}
				if !strings.HasPrefix(name, "end") {
					<-end
				}
			}))
			defer s.Close()
			defer close(end)
			c, err := New(Config{Addr: addrOf(t, s.Listener), Dialect: tt.dialect, Events: true})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			r := c.Dial(DialPlan{Count: 1, Window: 1, Path: "/sse?user={user}&token={token}", Tokens: []string{"secret"}, Limit: 10 * time.Second})
			if f := c.Faults(); r.Opened != 1 || f.Err() != nil {
				t.Fatalf("%d opened: %v", r.Opened, f.Err())
			}
			receiver := c.Receive(ReceivePlan{Size: 64}, func(Arrival) {})
			close(start)
			c.Run(func() bool { return receiver.Received() == 2 || c.faults.Total() > 0 })
			if got := c.faults.Total() > 0; got != tt.fault {
				t.Errorf("%+v", c.faults)
			}
			if !tt.fault && (receiver.Received() != 2 || c.pings != 1) {
				t.Errorf("%d received, %d heartbeats", receiver.Received(), c.pings)
			}
		})
	}
}

func TestNoEvents(t *testing.T) {
	for _, tt := range []struct{ head, why string }{
		{"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n", ""},
		{"HTTP/1.1 401 Unauthorized\r\nContent-Type: text/plain\r\n", "request of events: HTTP/1.1 401 Unauthorized"},
		{"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n", "the response is not text/event-stream"},
	} {
		if got := new(conn).noEvents([]byte(tt.head)); got != tt.why {
			t.Errorf("%q: %q", tt.head, got)
		}
	}
	for in, wrong := range map[string]bool{"3\r\nabc\r\n": false, "3\r\nab": false, "x\r\n": true, "0\r\n\r\n": true, "3\r\nabcd\r\n": true} {
		if _, _, err := nextChunk([]byte(in)); (err != nil) != wrong {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func addrOf(t *testing.T, l net.Listener) netip.AddrPort {
	t.Helper()
	a, err := netip.ParseAddrPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return a
}
