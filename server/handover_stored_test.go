package server

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/go-json-experiment/json"

	"fanfare/server/internal/handover"
)

// TestHandOverOfStoredMessages has a session move while stored messages are on their way, and
// while messages are being stored.
func TestHandOverOfStoredMessages(t *testing.T) {
	linuxOnly(t)
	cfg := withInbox(t)
	cfg.Endpoints = bothEndpoints()
	from := start(t, cfg)
	const first = 400
	for i := range first {
		pushDurable(t, from, "alice", fmt.Sprintf("%d %s", i, strings.Repeat("x", 500)))
	}
	plain := dial(t, from, "/ws?user=alice")
	v1 := dial(t, from, "/ws?user=alice", "Sec-WebSocket-Protocol: fanfare.v1")
	quiet := dial(t, from, "/ws?user=bob", "Sec-WebSocket-Protocol: fanfare.v1")
	quiet.next()
	for i := range 5 {
		if got := plain.next(); !strings.HasPrefix(got, fmt.Sprint(i, " ")) {
			t.Fatalf("message %d is %.20q", i, got)
		}
	}
	if err := from.ReleaseStore(context.Background(), func() {}); err != nil {
		t.Fatal(err)
	}
	stored := make(chan error, 1)
	go func() {
		d, err := from.PushStored(context.Background(), "alice", Entry{Op: Text, Payload: []byte("waited")})
		if err == nil && d.Receivers != 2 {
			err = fmt.Errorf("%d receivers: want 2", d.Receivers)
		}
		stored <- err
	}()
	await(t, "a message that waits", func() bool { return from.gate.Waiting() == 1 })
	to := successor(t, from, cfg)
	if err := receive(t, "the message that waited", stored); err != nil {
		t.Fatal(err)
	}
	if d, err := from.PushStored(context.Background(), "bob", Entry{Op: Text, Payload: []byte("by the old process")}); err != nil || d.Receivers != 1 {
		t.Fatalf("%+v, %v: want one receiver", d, err)
	}
	if got := quiet.next(); !strings.Contains(got, "by the old process") {
		t.Fatal(got)
	}
	pushDurable(t, to, "alice", "last")
	for i := 5; i < first; i++ {
		if got := plain.next(); !strings.HasPrefix(got, fmt.Sprint(i, " ")) {
			t.Fatalf("message %d is %.20q", i, got)
		}
	}
	for _, want := range []string{"waited", "last"} {
		if got := plain.next(); got != want {
			t.Fatalf("got %.20q: want %q", got, want)
		}
	}
	v1.next() // hello
	for i := range first {
		var m struct {
			Type   string `json:"type"`
			Epoch  string `json:"epoch"`
			Text   string `json:"text"`
			Offset uint64 `json:"offset"`
		}
		got := v1.next()
		if err := json.Unmarshal([]byte(got), &m); err != nil || !strings.HasPrefix(m.Text, fmt.Sprint(i, " ")) {
			t.Fatalf("message %d is %.80q, %v", i, got, err)
		}
		if i%20 == 19 {
			v1.send(Text, fmt.Sprintf(`{"type":"ack","epoch":%q,"offset":%d}`, m.Epoch, m.Offset))
		}
	}
	if n := from.Stats().Replay.Sessions; n != 0 {
		t.Errorf("%d sessions replay in the old process", n)
	}
}

func FuzzSessionState(f *testing.F) {
	linuxOnly(f)
	f.Add([]byte(`{"conn":{"id":7},"phase":"open","path":"/ws","protocol":"fanfare.v1","opened":1,"heard":2,"user":"a","topics":["t"]}`))
	f.Add([]byte(`{"conn":{"id":7,"queue":[{"bytes":"aGk=","policy":1}],"begun":true,"ending":1},"phase":"lingering","code":1008}`))
	f.Add([]byte(`{"conn":{"id":9},"phase":"open","path":"/ws","opened":1,"user":"a","replay":{"session":{"inbox":{"since":"2026-01-01T00:00:00Z","placed":true,"sent":4}}}}`))
	srv := start(f, Config{Endpoints: bothEndpoints(), TLS: NewTLS(serverTLS(f))})
	f.Fuzz(func(t *testing.T, b []byte) {
		st := new(handover.State)
		if json.Unmarshal(b, st) != nil {
			return
		}
		fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Close(fds[1])
		syscall.SetNonblock(fds[0], true)
		s, err := srv.prepareImport(fds[0], st)
		if err != nil {
			syscall.Close(fds[0])
			return
		}
		s.adopt(st)
		s.conn.Close()
		await(t, "the end", func() bool { return srv.connections.Load() == 0 })
	})
}
