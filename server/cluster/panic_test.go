package cluster

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fanfare/server"
)

// panickyHandler is a log handler that panics on a warning.
type panickyHandler struct{ slog.Handler }

func (h panickyHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level == slog.LevelWarn {
		panic("in Handle")
	}
	return h.Handler.Handle(ctx, r)
}

// A panic while a message of another node is read, here in the logger that reports it as
// malformed, is counted and logged, and the next message is handled.
func TestPanicInMessage(t *testing.T) {
	from := nodeID{1}
	m := &nats.Msg{Data: appendHeader(nil, kindWorking, from)} // malformed: it has no number
	for _, test := range []struct {
		name   string
		handle func(c *Cluster)
	}{
		{"command", func(c *Cluster) { c.receiveCommand(newLane(), m) }},
		{"decoding a command", func(c *Cluster) {
			if r := c.execute(from, nil); r.Error == "" {
				t.Error("an invalid command has no error")
			}
		}},
		{"reply", func(c *Cluster) { c.receiveOwn(new(reassembler), m) }},
		{"control", func(c *Cluster) {
			c.control = make(chan *nats.Msg, 1)
			c.control <- m
			l := &controlLoop{Cluster: c, ticker: time.NewTicker(time.Hour), next: time.NewTimer(time.Hour)}
			l.current = &round{deadline: time.Now().Add(time.Hour)}
			panicked := c.Stats().Panics
			if !l.step() {
				t.Error("the control loop has ended")
			}
			if c.Stats().Panics > panicked && l.current != nil {
				t.Error("the round goes on after a panic")
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log bytes.Buffer
			c := offline(&fakeNode{serve: func(*server.Command) server.Reply { return server.Reply{} }})
			c.log = slog.New(panickyHandler{slog.NewTextHandler(&log, nil)})
			c.id = nodeID{9}
			test.handle(c)
			test.handle(c) // is not logged again, so nothing panics
			if s := c.Stats(); s.Panics != 1 || s.Dropped.Malformed != 2 {
				t.Errorf("%d panics and %d malformed messages are counted, want 1 and 2", s.Panics, s.Dropped.Malformed)
			}
			if got := log.String(); !strings.Contains(got, "panic in ") || !strings.Contains(got, "panic_test.go") {
				t.Errorf("the log is %q", got)
			}
		})
	}
}
