package server

import (
	"context"
	"slices"
	"testing"
	"time"

	"fanfare/frame"
	"fanfare/netpoll"
	"fanfare/server/store"
)

// TestLatencyBuckets: bucket i counts durations below 4^i × 16 µs, the last all others.
// takingTime is a Dialect and a Store whose work takes time on a clock that otherwise
// stands still.
type takingTime struct {
	Dialect
	store.Store
	pass func(time.Duration)
}

func (t *takingTime) Protocol() string { return "slow" }

func (t *takingTime) Encode(c Content) *frame.Prepared {
	if c.Offset == 0 { // a replay worker encodes stored messages, perhaps later
		t.pass(5 * time.Millisecond)
	}
	return t.Dialect.Encode(c)
}

func (t *takingTime) Begin(b store.Box, e store.Entry) store.Pending {
	return &takingPending{t.Store.Begin(b, e), t}
}

type takingPending struct {
	store.Pending
	t *takingTime
}

func (p *takingPending) Finish(ctx context.Context) (store.Receipt, error) {
	p.t.pass(20 * time.Millisecond)
	return p.Pending.Finish(ctx)
}

// slowDialect is the Dialect of a takingTime, whose Begin is another.
type slowDialect struct{ *takingTime }

func (d slowDialect) Begin(s *Session, p Position) { d.Dialect.Begin(s, p) }

// TestDeliveryLatency: each push to a session of this node is measured from the call to the
// last write, whatever the number of receivers; a push without one is not.
func TestDeliveryLatency(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		cfg := withInbox(t)
		slow := &takingTime{Dialect: Plain(), Store: cfg.Store, pass: func(time.Duration) {}}
		ep := PushEndpoint("/ws")
		ep.Dialects = []Dialect{slowDialect{slow}, Plain()}
		cfg.Transport, cfg.Store, cfg.Endpoints = transport, slow, []Endpoint{ep}
		srv, h := startStopped(t, cfg)
		for range 2 {
			dial(t, srv, "/ws?user=a&topic=t", "Sec-WebSocket-Protocol: slow")
		}
		await(t, "the inbox is replayed", func() bool {
			return !slices.ContainsFunc(userSessions(srv, "a"), func(s *Session) bool { return s.state.Load()&holdBit != 0 })
		})
		slow.pass = func(d time.Duration) { h.now.Add(int64(d)) }
		ctx, hi := t.Context(), []byte("hi")
		for _, test := range []struct {
			kind string
			push func(user, topic string) (Delivery, error)
			want time.Duration
		}{
			{"user", func(user, _ string) (Delivery, error) { return srv.Push(ctx, user, NewMessage(Text, hi)) }, 5 * time.Millisecond},
			{"topic", func(_, topic string) (Delivery, error) { return srv.Publish(ctx, topic, NewMessage(Text, hi)) }, 5 * time.Millisecond},
			{"several", func(user, topic string) (Delivery, error) {
				return srv.PushMany(ctx, []string{user}, []string{topic}, NewMessage(Text, hi))
			}, 5 * time.Millisecond},
			{"durable", func(user, _ string) (Delivery, error) {
				st, err := srv.PushStored(ctx, user, Entry{Op: Text, Payload: hi})
				return st.Delivery, err
			}, 20 * time.Millisecond},
			{"broadcast", func(user, _ string) (Delivery, error) {
				if user != "a" {
					return Delivery{}, nil
				}
				return srv.Broadcast(ctx, NewMessage(Text, hi))
			}, 5 * time.Millisecond},
		} {
			if n := receivers(test.push("absent", "without")); n != 0 {
				t.Fatalf("%s: reached %d", test.kind, n)
			}
			if n := receivers(test.push("a", "t")); n != 2 {
				t.Fatalf("%s: reached %d", test.kind, n)
			}
			if got := srv.Stats().Delivery[test.kind]; got.Count != 1 || got.Seconds != test.want.Seconds() {
				t.Errorf("%s: %+v, want %v once", test.kind, got, test.want)
			}
		}
		for kind, h := range srv.Stats().Delivery {
			if h.Count != 1 {
				t.Errorf("%s: %d are counted", kind, h.Count)
			}
		}
	})
}
