package server

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"fanfare/netpoll"
	"fanfare/server/store"
)

// A plain client does not read. Stored messages and the ping that follows them are in its
// queue when a live message overflows it: the session is closed with 1013, and the
// messages are dropped. The client then reads, and answers every ping, as libraries do.
// Messages that it did not get must not be acknowledged, and the next session gets them.
func TestOverflowAcknowledgesNothing(t *testing.T) {
	for _, test := range []struct {
		name string
		box  store.Box
	}{{"inbox", store.Box{User: "alice"}}, {"topic", store.Box{Topic: "news.a"}}} {
		t.Run(test.name, func(t *testing.T) {
			overTransports(t, func(t *testing.T, transport netpoll.Transport) {
				cfg := withTopics(t)
				cfg.Transport = transport
				srv := start(t, cfg)
				c := dial(t, srv, "/ws?user=alice&topic=news.a")
				followed(t, srv, "news.a", "alice", 0)
				s := only(t, srv, "alice")
				live := []byte(strings.Repeat("l", 8<<10))
				for s.Queued() == 0 { // until the socket accepts no more
					push(srv, "alice", Binary, live)
				}
				var stored []string
				for i := range 3 {
					stored = append(stored, fmt.Sprint("stored ", i))
					store := func() (Stored, error) {
						e := Entry{Op: Text, Payload: []byte(stored[i])}
						if test.box.User != "" {
							return srv.PushStored(context.Background(), "alice", e)
						}
						return srv.PublishStored(context.Background(), "news.a", e)
					}
					if _, err := store(); err != nil {
						t.Fatal(err)
					}
				}
				for s.phase() == open {
					push(srv, "alice", Binary, live)
				}
				got := c.textsUntilClose(1013)
				c.Close()
				await(t, "end", func() bool { return srv.Count() == 0 })

				acked, _, err := srv.cfg.Store.Acked(context.Background(), test.box, "alice")
				if err != nil {
					t.Fatal(err)
				}
				if acked > uint64(len(got)) {
					t.Errorf("acknowledged up to %d, but the client got %d messages", acked, len(got))
				}
				again := dial(t, srv, "/ws?user=alice&topic=news.a")
				again.SetReadDeadline(time.Now().Add(10 * time.Second))
				want := stored[acked:]
				if got := again.messages(len(want), false); !slices.Equal(got, want) {
					t.Errorf("the next session got %q, want %q", got, want)
				}
			})
		})
	}
}

// textsUntilClose reads up to a close frame, answers pings, and returns the texts.
func (c *client) textsUntilClose(code Code) (texts []string) {
	c.t.Helper()
	for {
		op, payload, err := c.frame()
		if err != nil {
			c.t.Fatalf("no close frame: %v", err)
		}
		switch op {
		case Text:
			texts = append(texts, string(payload))
		case ws.OpPing:
			c.Conn.Write(masked(ws.OpPong, true, payload))
		case ws.OpClose:
			if !strings.HasPrefix(string(payload), closePayload(code, "")) {
				c.t.Errorf("close frame %q, want %d", payload, code)
			}
			c.Conn.Write(masked(ws.OpClose, true, payload))
			return texts
		}
	}
}

// Live messages wait while a store does not answer. If the session ends meanwhile, each
// of them is counted as dropped, though Push has counted it as accepted.
func TestHeldMessagesOfAnEndedSession(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		cfg := withInbox(t)
		slow := &blockedStore{Store: cfg.Store, wait: make(chan struct{})}
		defer close(slow.wait)
		cfg.Store, cfg.Transport = slow, transport
		srv := start(t, cfg)
		c := dial(t, srv, "/ws?user=alice")
		const held = 5
		for range held {
			if err := only(t, srv, "alice").Send(Text, []byte("held")); err != nil {
				t.Fatal(err)
			}
		}
		if n := srv.Stats().Dropped["ending"]; n != 0 {
			t.Fatalf("%d dropped before the end", n)
		}
		c.reset()
		await(t, "end", func() bool { return srv.Count() == 0 })
		await(t, "the drops are counted", func() bool { return srv.Stats().Dropped["ending"] == held })
		if n := srv.Stats().Replay.Dropped; n != held {
			t.Errorf("Replay.Dropped is %d", n)
		}
	})
}

// If the session is closed in order, what is held is sent before the close frame.
func TestHeldMessagesPrecedeTheCloseFrame(t *testing.T) {
	cfg := withInbox(t)
	slow := &blockedStore{Store: cfg.Store, wait: make(chan struct{})}
	defer close(slow.wait)
	cfg.Store = slow
	srv := start(t, cfg)
	c := dial(t, srv, "/ws?user=alice")
	s := only(t, srv, "alice")
	s.Send(Text, []byte("held"))
	s.Close(4000, "")
	c.want(Text, "held")
	c.wantClose(4000)
	if n := srv.Stats().Dropped["ending"]; n != 0 {
		t.Errorf("%d dropped", n)
	}
}

// blockedStore does not answer questions about what is stored until wait is closed.
type blockedStore struct {
	store.Store
	wait chan struct{}
}

func (b *blockedStore) block(ctx context.Context) error {
	select {
	case <-b.wait:
		return nil
	case <-ctx.Done():
		return store.ErrUnavailable
	}
}

func (b *blockedStore) Acked(ctx context.Context, box store.Box, user string) (uint64, bool, error) {
	if err := b.block(ctx); err != nil {
		return 0, false, err
	}
	return b.Store.Acked(ctx, box, user)
}

func (b *blockedStore) Last(ctx context.Context, box store.Box) (uint64, error) {
	if err := b.block(ctx); err != nil {
		return 0, err
	}
	return b.Store.Last(ctx, box)
}

func (b *blockedStore) Read(ctx context.Context, box store.Box, after uint64, n int) (store.Page, error) {
	if err := b.block(ctx); err != nil {
		return store.Page{}, err
	}
	return b.Store.Read(ctx, box, after, n)
}
