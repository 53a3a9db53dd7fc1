package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"fanfare/registry"
	"fanfare/server/internal/handover"
	"fanfare/server/store"
)

// versioned is the first message of either process.
type versioned struct {
	Version int `json:"version"`
}

// fakeTaker plays the other process until the message of a kind, and then ends the stream, or
// does not answer.
func fakeTaker(conn *net.UnixConn, until handover.Kind, hang bool, over <-chan struct{}) {
	w := handover.New(conn)
	defer w.Close()
	defer w.Drop()
	for {
		m, err := w.Read()
		if err != nil {
			return
		}
		m.CloseFDs()
		if m.Kind == until {
			if hang {
				<-over
			}
			return
		}
		switch m.Kind {
		case handover.Begin:
			w.Write(handover.Ready, versioned{handover.Version})
		case handover.Sync:
			w.Write(handover.Synced, nil)
		case handover.Prepare:
			w.Write(handover.Prepared, struct{}{})
		}
	}
}

func TestHandOverFails(t *testing.T) {
	linuxOnly(t)
	cfg := Config{Endpoints: bothEndpoints()}
	from := start(t, cfg)
	from.timing.Round = 200 * time.Millisecond // of one that hangs
	var clients []*client
	for i := range 5 {
		clients = append(clients, dial(t, from, fmt.Sprintf("/ws?user=u%d&topic=all", i)))
	}
	half := dial(t, from, "/echo")
	message := string(masked(Text, true, []byte("cut into halves")))
	half.say(message[:9])
	for _, test := range []struct {
		until handover.Kind
		hang  bool
	}{
		{handover.Begin, false}, {handover.Descriptors, false}, {handover.Sync, false}, {handover.Sessions, false}, {handover.Prepare, false},
		{handover.Prepare, true},
	} {
		t.Run(fmt.Sprint(test.until, test.hang), func(t *testing.T) {
			a, b := unixPair(t)
			over := make(chan struct{})
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				fakeTaker(b, test.until, test.hang, over)
			}()
			h, err := from.HandOver(context.Background(), a)
			close(over)
			<-ended
			if !errors.Is(err, ErrHandOver) {
				t.Fatalf("%+v, %v: want an error", h, err)
			}
			late := dial(t, from, "/ws?user=late&topic=all")
			m := NewMessage(Text, []byte(test.until.String()))
			if d, err := from.Publish(context.Background(), "all", m); err != nil || d.Receivers != len(clients)+1 {
				t.Fatalf("%d receivers, %v: want %d", d.Receivers, err, len(clients)+1)
			}
			for _, c := range append(clients, late) {
				if got := c.next(); got != test.until.String() {
					t.Fatalf("got %q", got)
				}
			}
			late.send(ws.OpClose, closePayload(1000, ""))
			await(t, "the end of the late session", func() bool { return from.Count() == len(clients)+1 })
			if n := from.connections.Load(); n != int64(len(clients)+1) {
				t.Fatalf("%d connections count: want %d", n, len(clients)+1)
			}
		})
	}
	half.say(message[9:])
	if got := half.next(); got != "cut into halves" {
		t.Errorf("half a message became %q", got)
	}
	successor(t, from, cfg)
	for _, c := range clients {
		c.send(ws.OpPing, "alive")
		if op, payload, err := c.frame(); err != nil || op != ws.OpPong || string(payload) != "alive" {
			t.Fatalf("%v %q %v: want a pong", op, payload, err)
		}
	}
}

// TestTakeOverFails ends the giver at each step: the taker serves what was committed.
func TestTakeOverFails(t *testing.T) {
	linuxOnly(t)
	steps := []func(w *handover.Conn){
		func(w *handover.Conn) { w.Write(handover.Begin, versioned{handover.Version}); w.Read() },
		func(w *handover.Conn) { w.Write(handover.Sync, nil); w.Read() },
		func(w *handover.Conn) { w.Write(handover.Sessions, []map[string]any{{"phase": "closing"}}) },
		func(w *handover.Conn) { w.Write(handover.Prepare, nil); w.Read() },
	}
	for n := range len(steps) + 1 {
		to := start(t, Config{Endpoints: bothEndpoints()})
		a, b := unixPair(t)
		go func() {
			w := handover.New(a)
			for _, step := range steps[:n] {
				step(w)
			}
			w.Close()
		}()
		if n, err := to.TakeOver(context.Background(), b); err == nil || n != 0 {
			t.Fatalf("took %d sessions over, %v: want an error", n, err)
		}
		c := dial(t, to, "/ws?user=a")
		if d, _ := to.Push(context.Background(), "a", NewMessage(Text, []byte("x"))); d.Receivers != 1 || c.next() != "x" {
			t.Fatal("the server does not serve after a take-over that failed")
		}
	}
	to := start(t, Config{Endpoints: bothEndpoints()})
	a, b := unixPair(t)
	w := handover.New(a)
	defer w.Close()
	w.Write(handover.Begin, versioned{handover.Version + 1})
	if _, err := to.TakeOver(context.Background(), b); err == nil || !strings.Contains(err.Error(), "version") {
		t.Fatalf("error %v: want one about the version", err)
	}
	if m, err := w.Read(); err != nil || m.Kind != handover.Failed || !bytes.Contains(m.Payload, []byte("version")) {
		t.Fatalf("the giver is told %v %q %v", m.Kind, m.Payload, err)
	}
}

// TestLinkFaults: errors keep their places, by which a process of another version knows them.
func TestLinkFaults(t *testing.T) {
	want := []error{store.ErrFull, store.ErrDiskFull, store.ErrUnavailable, store.ErrDamaged, ErrNoStore, ErrNotDurable, ErrTooBig,
		context.DeadlineExceeded, registry.ErrTooManyTopics, store.ErrTTL, store.ErrIDReused}
	if len(linkFaults) < len(want) || !slices.Equal(linkFaults[:len(want)], want) {
		t.Errorf("got %v, which must begin with %v", linkFaults, want)
	}
}
