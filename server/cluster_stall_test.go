package server

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// stalledCluster is a Cluster whose network has stopped: the methods that may wait do so
// until their context ends, and Ask fails at once where the queue is full.
type stalledCluster struct {
	fakeCluster
	full  bool          // Ask finds the queue full at once
	asked chan struct{} // one for each Ask that waits
}

func newStalledCluster(full bool) *stalledCluster {
	return &stalledCluster{
		fakeCluster: fakeCluster{name: "node", peers: new([]*fakeCluster), holds: make(map[Target]int)},
		full:        full,
		asked:       make(chan struct{}, 100),
	}
}

func (c *stalledCluster) Ask(ctx context.Context, _ Target, _ *Command) (Answer, error) {
	if c.full {
		return Answer{Coverage: Coverage{Missing: 1}}, fmt.Errorf("%w: the queue is full", ErrUnreachable)
	}
	c.asked <- struct{}{}
	<-ctx.Done()
	return Answer{Coverage: Coverage{Missing: 1}}, nil
}

func (c *stalledCluster) Sync(ctx context.Context, _ Target) error {
	<-ctx.Done()
	return ctx.Err()
}

func (c *stalledCluster) Ready() error { return ErrUnreachable }

// A cluster that has stalled costs the sessions of this node nothing: handshakes, messages
// in both directions, heartbeats and closes go on, and so does the end of the server.
func TestStalledCluster(t *testing.T) {
	for _, full := range []bool{false, true} {
		t.Run(fmt.Sprintf("queue full %t", full), func(t *testing.T) {
			cluster := newStalledCluster(full)
			ep := PushEndpoint("/ws")
			ep.Hooks.OnMessage = func(s *Session, op Op, payload []byte) { s.Send(op, payload) }
			srv, clock := startStopped(t, Config{Cluster: cluster, Endpoints: []Endpoint{ep}, Workers: 2})
			alice := dial(t, srv, "/ws?user=alice&topic=news")

			// More calls wait than the server has workers.
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			m := NewMessage(Text, []byte("pushed"))
			ways := []func() (Delivery, error){
				func() (Delivery, error) { return srv.Push(ctx, "alice", m) },
				func() (Delivery, error) { return srv.Publish(ctx, "news", m) },
				func() (Delivery, error) { return srv.Broadcast(ctx, m) },
				func() (Delivery, error) { return srv.PushMany(ctx, []string{"alice"}, nil, m) },
			}
			const rounds = 3
			type result struct {
				d   Delivery
				err error
			}
			results := make(chan result, rounds*len(ways))
			for range rounds {
				for _, send := range ways {
					go func() {
						d, err := send()
						results <- result{d, err}
					}()
				}
			}
			for range rounds * len(ways) {
				alice.want(Text, "pushed")
				if !full {
					receive(t, "Ask", cluster.asked)
				}
			}
			if !full && len(results) > 0 {
				t.Error("a call has not waited for the other nodes")
			}

			// A broadcast that still walks the sessions would reach bob, too.
			await(t, "the end of the broadcasts", func() bool { return srv.stats.Broadcast.Load() == rounds })
			bob := dial(t, srv, "/ws?user=bob&topic=news")
			bob.send(Text, "echo")
			bob.want(Text, "echo")
			if err := only(t, srv, "bob").Subscribe("sports"); err != nil {
				t.Error(err)
			}
			clock.until(t, "pings", 2, srv.stats.Pings.Load)
			alice.want(ws.OpPing, "")
			bob.want(ws.OpPing, "")
			only(t, srv, "bob").Close(StatusNormalClosure, "")
			bob.wantClose(StatusNormalClosure)
			bob.send(ws.OpClose, closePayload(StatusNormalClosure, ""))
			bob.wantEnd()
			await(t, "the end of bob's session", func() bool { return srv.Count() == 1 })

			cancel()
			for range rounds * len(ways) {
				if r := receive(t, "result", results); r.err != nil || r.d.Receivers != 1 || r.d.Complete() {
					t.Errorf("%+v", r)
				}
			}
			alice.Close()
			end, done := context.WithTimeout(t.Context(), 10*time.Second)
			defer done()
			if err := srv.Shutdown(end); err != nil {
				t.Error(err)
			}
		})
	}
}

// With stored messages a session waits for the cluster before it reads its inbox, so that
// no message is missed. Live messages wait for the stored ones, for a bounded time.
func TestStalledClusterWithStore(t *testing.T) {
	cfg := withInbox(t)
	cfg.Cluster = newStalledCluster(true)
	srv := start(t, cfg)
	stored := pushDurable(t, srv, "alice", "stored")
	if stored.Complete() {
		t.Errorf("%+v", stored)
	}
	for range 40 { // more sessions than package replay has workers
		c := dial(t, srv, "/ws?user=other"+fmt.Sprint(srv.Count()))
		defer c.Close()
	}
	c := dial(t, srv, "/ws?user=alice", speaksV1)
	push(srv, "alice", Text, []byte("live"))
	c.wantText(`{"type":"hello","user":"alice"}`)
	c.wantText(`{"type":"message","text":"live"}`)
	c.send(Text, `{"type":"subscribe","topic":"news"}`)
	c.wantText(`{"type":"subscribe","topic":"news"}`)
	c.send(ws.OpClose, closePayload(StatusNormalClosure, ""))
	c.wantClose(StatusNormalClosure)
	io.Copy(io.Discard, c)
}
