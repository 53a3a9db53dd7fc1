package messagenats

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanfare/server"
	"fanfare/server/internal/breaker"
	"fanfare/server/internal/inbound"
	"fanfare/server/internal/natstest"
)

const patience = 30 * time.Second

// fixture is a Subject, the NATS server that it publishes to, and a client of that.
type fixture struct {
	*Subject
	ns  *natstest.Server
	nc  *nats.Conn
	log bytes.Buffer // to be read after the Subject has returned
}

func start(t *testing.T, opts natsserver.Options, change ...func(*Config)) *fixture {
	t.Helper()
	f := &fixture{ns: natstest.Start(t, opts)}
	cfg := Config{URL: f.ns.ClientURL(), Subject: "chat.in", Timeout: patience, Logger: slog.New(slog.NewTextHandler(&f.log, nil))}
	for _, c := range change {
		c(&cfg)
	}
	var err error
	if f.Subject, err = open(cfg, time.Hour); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Subject.Close)
	if f.nc, err = nats.Connect(f.ns.ClientURL()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.nc.Close)
	return f
}

// handle has a function answer messages.
func (f *fixture) handle(t *testing.T, fn nats.MsgHandler) {
	t.Helper()
	if _, err := f.nc.Subscribe("chat.in", fn); err != nil {
		t.Fatal(err)
	}
	if err := f.nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

// counted returns the results that are not 0.
func (f *fixture) counted() string {
	var b strings.Builder
	f.EachMetric(func(name, _, _, value string, n int64) {
		if n != 0 && name == "message_subject_total" {
			b.WriteString(strings.Repeat(value+" ", int(n)))
		}
	})
	return strings.TrimSpace(b.String())
}

// count returns how often a result was counted.
func (f *fixture) count(result string) (n int64) {
	f.EachMetric(func(name, _, _, value string, total int64) {
		if name == "message_subject_total" && value == result {
			n = total
		}
	})
	return n
}

// sameWords reports whether two lists have the same words in some order.
func sameWords(a, b string) bool {
	x, y := strings.Fields(a), strings.Fields(b)
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}

// in is a message of a client.
func in(payload string) server.Inbound {
	return server.Inbound{ID: "7", User: "alice\r\nX: y", SessionID: "42", Endpoint: "/ws", Op: server.Text, Payload: []byte(payload)}
}

func TestReply(t *testing.T) {
	f := start(t, natsserver.Options{})
	var got Message
	f.handle(t, func(m *nats.Msg) {
		got = Message{}
		if err := json.Unmarshal(m.Data, &got); err != nil || m.Header.Get("Nats-Msg-Id") != got.ID {
			t.Errorf("%v: %s, %v", err, m.Data, m.Header)
		}
		reply := &nats.Msg{Data: []byte("re: " + string(m.Data)), Header: nats.Header{}}
		switch {
		case got.Base64 != nil:
			reply.Data = *got.Base64
			reply.Header.Set("Content-Type", "application/octet-stream; x=y")
		case *got.Text == "nothing":
			reply.Data = nil
		case *got.Text == "reject":
			reply.Header.Set("Nats-Service-Error", "no such match")
			reply.Header.Set("Nats-Service-Error-Code", "404")
		case *got.Text == "reject without words":
			reply.Header.Set("Nats-Service-Error", strings.Repeat("x", inbound.MaxText+1))
		case *got.Text == "long":
			reply.Data = bytes.Repeat([]byte("x"), inbound.MaxAnswer+1)
		case *got.Text == "longest":
			reply.Data = bytes.Repeat([]byte("x"), inbound.MaxAnswer)
		case *got.Text == "not text":
			reply.Data = []byte("\xff")
		default:
			reply.Data = []byte("re: " + *got.Text)
		}
		if err := m.RespondMsg(reply); err != nil {
			t.Error(err)
		}
	})
	for _, tt := range []struct {
		op       server.Op
		send     string
		want     string // in the answer
		err      string
		counted  string
		answerOp server.Op
	}{
		{server.Text, "hi", "re: hi", "", "answered", server.Text},
		{server.Binary, "\xff\x00", "\xff\x00", "", "answered", server.Binary},
		{server.Text, "nothing", "", "", "empty", 0},
		{server.Text, "reject", "", "rejected: no such match", "rejected", 0},
		{server.Text, "reject without words", "", "rejected: the backend has rejected the message", "rejected", 0},
		{server.Text, "longest", strings.Repeat("x", inbound.MaxAnswer), "", "answered", server.Text},
		{server.Text, "long", "", inbound.ErrInvalid.Error(), "invalid", 0},
		{server.Text, "not text", "", inbound.ErrInvalid.Error(), "invalid", 0},
	} {
		before := f.counted()
		message := in(tt.send)
		message.Op = tt.op
		m, err := f.Respond(t.Context(), message)
		if tt.err == "" && err != nil || tt.err != "" && (err == nil || err.Error() != tt.err) {
			t.Errorf("%q: error %v, want %q", tt.send, err, tt.err)
		}
		if (m != nil) != (tt.want != "") || m != nil && (string(m.Payload()) != tt.want || m.Op() != tt.answerOp) {
			t.Errorf("%q: got %v, want %.40q", tt.send, m, tt.want)
		}
		if c := f.counted(); !sameWords(c, before+" "+tt.counted) {
			t.Errorf("%q: %q was counted, then %q, want one more %q", tt.send, before, c, tt.counted)
		}
		if got.Request != "7" || got.User != "alice\r\nX: y" || got.Session != "42" || got.Endpoint != "/ws" {
			t.Errorf("the document is %+v", got)
		}
	}
}

// TestStored: each message is in the stream once, or the client is told that it is not.
func TestStored(t *testing.T) {
	f := start(t, natsserver.Options{JetStream: true}, func(c *Config) { c.Answer = Stored })
	if m, err := f.Respond(t.Context(), in("too early")); m != nil || err != inbound.ErrUnavailable || f.counted() != "failed" {
		t.Errorf("without a stream: %v, %v, counted %q", m, err, f.counted())
	}
	js, err := jetstream.New(f.nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "IN", Subjects: []string{"chat.>"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"one", "two"} {
		if m, err := f.Respond(t.Context(), in(text)); m != nil || err != nil {
			t.Errorf("%s: %v, %v", text, m, err)
		}
	}
	if f.counted() != "empty empty failed" {
		t.Errorf("counted %q", f.counted())
	}
	for i, want := range []string{`"text":"one"`, `"text":"two"`} {
		m, err := stream.GetMsg(t.Context(), uint64(i+1))
		if err != nil || !strings.Contains(string(m.Data), want) {
			t.Errorf("message %d is %v, %v", i+1, m, err)
		}
	}
	if info, err := stream.Info(t.Context()); err != nil || info.State.Msgs != 2 {
		t.Errorf("the stream has %+v, %v", info, err)
	}
}

// TestPublished: subscribers receive the message, and need not answer.
func TestPublished(t *testing.T) {
	f := start(t, natsserver.Options{}, func(c *Config) { c.Answer = Published })
	if m, err := f.Respond(t.Context(), in("into the void")); m != nil || err != nil {
		t.Errorf("without a subscriber: %v, %v", m, err)
	}
	got := make(chan *nats.Msg, 2)
	f.handle(t, func(m *nats.Msg) { got <- m })
	if m, err := f.Respond(t.Context(), in("hi")); m != nil || err != nil {
		t.Errorf("got %v, %v", m, err)
	}
	if err := f.Ready(); err != nil {
		t.Error(err)
	}
	if m := <-got; m.Reply != "" || !strings.Contains(string(m.Data), `"text":"hi"`) {
		t.Errorf("the subscriber got %q, to be answered at %q", m.Data, m.Reply)
	}
	f.ns.Stop()
	if m, err := f.Respond(t.Context(), in("lost")); m != nil || err != inbound.ErrUnavailable {
		t.Errorf("without NATS: %v, %v", m, err)
	}
	if err := f.Ready(); err == nil || !strings.Contains(err.Error(), "NATS cannot be reached") {
		t.Errorf("Ready says %v", err)
	}
	if f.counted() != "empty empty failed" {
		t.Errorf("counted %q", f.counted())
	}
}

// TestUnavailable: what stands in the way is told to the client, counted and logged, and the
// breaker opens only for what makes clients wait.
func TestUnavailable(t *testing.T) {
	f := start(t, natsserver.Options{MaxPayload: 1000})
	for range 2 * breaker.TripAfter { // there is no subscriber
		if _, err := f.Respond(t.Context(), in("hi")); err != inbound.ErrUnavailable {
			t.Fatalf("without a subscriber: %v", err)
		}
		if _, err := f.Respond(t.Context(), in(strings.Repeat("x", 1000))); err != inbound.ErrTooBig {
			t.Fatalf("a long message: %v", err)
		}
	}
	if f.count("failed") != 2*breaker.TripAfter || f.count("too_big") != 2*breaker.TripAfter || f.breaker.Open() != 0 {
		t.Errorf("counted %q, breaker %d", f.counted(), f.breaker.Open())
	}
	f.handle(t, func(*nats.Msg) {}) // without an answer
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Respond(ended, in("hi")); err != inbound.ErrUnavailable || f.count("canceled") != 1 {
		t.Errorf("after the server ended: %v, counted %q", err, f.counted())
	}
	f.cfg.Timeout = time.Millisecond
	for range breaker.TripAfter {
		if _, err := f.Respond(t.Context(), in("hi")); err != inbound.ErrTimeout {
			t.Fatalf("without an answer: %v", err)
		}
	}
	if _, err := f.Respond(t.Context(), in("hi")); err != inbound.ErrUnavailable || f.count("skipped") != 1 || f.breaker.Open() != 1 {
		t.Errorf("after many timeouts: %v, counted %q", err, f.counted())
	}
	if err := f.Ready(); err == nil || !strings.Contains(err.Error(), "10 messages in a row have failed") {
		t.Errorf("Ready says %v", err)
	}
	if log := f.log.String(); !strings.Contains(log, `msg="message subject failed" subject=chat.in err=`) || strings.Contains(log, "alice") {
		t.Errorf("the log is %s", log)
	}
}

func TestConfig(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Config)
		want   string // in the error
	}{
		"good":             {func(*Config) {}, ""},
		"no subject":       {func(c *Config) { c.Subject = "" }, "Subject is required"},
		"a wildcard":       {func(c *Config) { c.Subject = "a.*" }, `Subject is "a.*": want printable ASCII`},
		"all that follows": {func(c *Config) { c.Subject = "a.>" }, "want printable ASCII"},
		"a space":          {func(c *Config) { c.Subject = "a b" }, "want printable ASCII"},
		"an empty word":    {func(c *Config) { c.Subject = "a..b" }, "words separated by single dots"},
		"a last dot":       {func(c *Config) { c.Subject = "a." }, "words separated by single dots"},
		"of NATS":          {func(c *Config) { c.Subject = "$JS.API.STREAM.DELETE.X" }, "not for messages of clients"},
		"of requests":      {func(c *Config) { c.Subject = "_INBOX.x" }, "not for messages of clients"},
		"of fanfare":       {func(c *Config) { c.Subject = "fanfare.node.x" }, "not for messages of clients"},
		"too long":         {func(c *Config) { c.Subject = strings.Repeat("a", maxSubject+1) }, "has 257 bytes"},
		"an answer":        {func(c *Config) { c.Answer = 7 }, "Answer is 7"},
		"a long timeout":   {func(c *Config) { c.Timeout = time.Hour }, "Timeout is 1h0m0s: want at most 5m0s"},
		"a key alone":      {func(c *Config) { c.Cert = "x" }, "Cert and Key belong together"},
		"no URL":           {func(c *Config) { c.URL = "" }, "URL"},
	} {
		cfg := Config{URL: "nats://127.0.0.1:4222", Subject: "chat.in"}
		tt.change(&cfg)
		err := cfg.Validate()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
		if err == nil {
			continue
		}
		if _, opened := Open(cfg); opened == nil || opened.Error() != err.Error() {
			t.Errorf("%s: Open says %v, Validate %v", name, opened, err)
		}
	}
	for a, name := range answers {
		if got, err := ParseAnswer(name); err != nil || int(got) != a || got.String() != name {
			t.Errorf("%s is %v, %v", name, got, err)
		}
	}
	if _, err := ParseAnswer("Reply"); err == nil {
		t.Error("no error for an unknown name")
	}
}
