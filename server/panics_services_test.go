package server

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"fanfare/server/internal/allnodes"
	"fanfare/server/internal/guard"
	"fanfare/server/store"
)

// A cluster whose methods panic is one that cannot be reached: what is for sessions of
// this node works.
func TestPanicInCluster(t *testing.T) {
	for _, method := range []string{"Hold", "Release", "Sync", "Check", "Ask", "Shared", "Name", "Nodes", "Ready", "Leave"} {
		t.Run(method, func(t *testing.T) {
			log, cluster := new(logBuffer), newFakeClusters(2)[0]
			cfg := withInbox(t)
			cfg.Cluster, cfg.Logger = cluster, log.logger()
			srv, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			cluster.set(func(f *fakeCluster) { f.panics = method })
			serveListen(t, srv)
			c := dial(t, srv, "/ws?user=a&topic=t")
			d, err := srv.Push(t.Context(), "a", NewMessage(Text, []byte("x")))
			switch {
			case method == "Check":
				if !errors.Is(err, ErrUnreachable) || d.Receivers != 0 {
					t.Errorf("%+v, %v", d, err)
				}
			case err != nil || d.Receivers != 1:
				t.Errorf("%+v, %v", d, err)
			case method == "Ask":
				if !errors.Is(d.Unreachable, ErrUnreachable) {
					t.Errorf("%+v", d)
				}
			}
			if method != "Check" {
				c.want(Text, "x")
			}
			list := srv.Sessions(t.Context(), "a")
			if len(list.Sessions) != 1 && method != "Check" || method == "Ready" && list.Complete() {
				t.Errorf("%+v", list)
			}
			srv.Stats()
			if method == "Sync" { // called by the replay
				await(t, "the panic", func() bool { return srv.Stats().Panics > 0 })
			}
			c.reset()
			await(t, "end", func() bool { return srv.Count() == 0 })
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := srv.Shutdown(ctx); err != nil {
				t.Error(err)
			}
			if srv.Stats().Panics == 0 || log.count("where=Cluster."+method) == 0 || log.count("commands_test.go") == 0 {
				t.Errorf("%d panics are counted", srv.Stats().Panics)
			}
		})
	}
	t.Run("Join", func(t *testing.T) {
		log, cluster := new(logBuffer), newFakeClusters(1)[0]
		cluster.panics = "Join"
		cfg := withInbox(t)
		cfg.Cluster, cfg.Logger = cluster, log.logger()
		if _, err := New(cfg); !errors.Is(err, ErrUnreachable) {
			t.Errorf("error %v", err)
		}
		if log.count("where=Cluster.Join") == 0 {
			t.Error("the panic is not logged")
		}
	})
}

// A panic on the goroutine that asks the other nodes, outside of the Cluster's own methods,
// is an answer that says that they are unreachable.
func TestPanicInAnswer(t *testing.T) {
	log, cluster := new(logBuffer), newFakeClusters(1)[0]
	srv, err := New(Config{Cluster: cluster, Logger: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	// Unguarded: its panic is one after Ask has returned.
	srv.nodes = allnodes.New(allnodes.Config{Process: &process{srv}, Cluster: cluster, Logger: srv.log})
	serveListen(t, srv)
	c := dial(t, srv, "/ws?user=a")
	cluster.set(func(f *fakeCluster) { f.panics = "Ask" })
	d, err := srv.Push(t.Context(), "a", NewMessage(Text, []byte("x")))
	if err != nil || d.Receivers != 1 || !errors.Is(d.Unreachable, ErrUnreachable) {
		t.Errorf("%+v, %v", d, err)
	}
	c.want(Text, "x")
	wantPanics(t, srv, log, "answer of the cluster", 1)
}

// serveListen starts srv on a free port.
func serveListen(t *testing.T, srv *Server) {
	t.Helper()
	srv.cfg.Listen = "127.0.0.1:0"
	serve(t, srv)
}

// brokenStore has a method that panics.
type brokenStore struct {
	store.Store
	method atomic.Value // its name
}

func (b *brokenStore) check(method string) {
	if b.method.Load() == method {
		panic("in " + method)
	}
}

func (b *brokenStore) Begin(to store.Box, e store.Entry) store.Pending {
	b.check("Begin")
	return brokenPending{b.Store.Begin(to, e), b}
}

type brokenPending struct {
	store.Pending
	store *brokenStore
}

func (p brokenPending) Finish(ctx context.Context) (store.Receipt, error) {
	r, err := p.Pending.Finish(ctx)
	p.store.check("Finish")
	return r, err
}

func (b *brokenStore) Epoch(box store.Box) string { b.check("Epoch"); return b.Store.Epoch(box) }
func (b *brokenStore) Acked(ctx context.Context, box store.Box, user string) (uint64, bool, error) {
	b.check("Acked")
	return b.Store.Acked(ctx, box, user)
}
func (b *brokenStore) Read(ctx context.Context, box store.Box, after uint64, n int) (store.Page, error) {
	b.check("Read")
	return b.Store.Read(ctx, box, after, n)
}
func (b *brokenStore) Ack(box store.Box, user string, offset uint64) {
	b.check("Ack")
	b.Store.Ack(box, user, offset)
}

func (b *brokenStore) Purge(ctx context.Context, box store.Box) (uint64, error) {
	b.check("Purge")
	return b.Store.Purge(ctx, box)
}
func (b *brokenStore) Ready() error       { b.check("Ready"); return b.Store.Ready() }
func (b *brokenStore) OnRecover(f func()) { b.check("OnRecover"); b.Store.OnRecover(f) }
func (b *brokenStore) Stats() store.Stats { b.check("Stats"); return b.Store.Stats() }
func (b *brokenStore) Close()             { b.check("Close") }

// The methods that no push calls are guarded, too.
func TestPanicInStoreMethods(t *testing.T) {
	log := new(logBuffer)
	broken := &brokenStore{Store: withInbox(t).Store}
	srv := start(t, Config{Logger: log.logger()})
	st := guard.Store(broken, func(where string, v any) { srv.panicked(where, v) })
	for i, test := range []struct {
		method string
		call   func() error
	}{
		{"Purge", func() error { _, err := st.Purge(t.Context(), store.Box{User: "a"}); return err }},
		{"Ready", st.Ready},
		{"OnRecover", func() error { st.OnRecover(func() {}); return store.ErrUnavailable }},
		{"Stats", func() error { st.Stats(); return store.ErrUnavailable }},
		{"Close", func() error { st.Close(); return store.ErrUnavailable }},
	} {
		broken.method.Store(test.method)
		if err := test.call(); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v", test.method, err)
		}
		wantPanics(t, srv, log, "Store."+test.method, int64(i+1))
	}
}

// A store whose methods panic is one that is not available: live pushes work.
func TestPanicInStore(t *testing.T) {
	for _, method := range []string{"Begin", "Finish", "Epoch", "Acked", "Read", "Ack"} {
		t.Run(method, func(t *testing.T) {
			log := new(logBuffer)
			cfg := withInbox(t)
			broken := &brokenStore{Store: cfg.Store}
			cfg.Store, cfg.Logger = broken, log.logger()
			srv := start(t, cfg)
			pushDurable(t, srv, "a", "stored")
			broken.method.Store(method)
			_, err := srv.PushStored(t.Context(), "b", Entry{Op: Text, Payload: []byte("x")})
			if fails := method == "Begin" || method == "Finish" || method == "Epoch"; fails != errors.Is(err, store.ErrUnavailable) {
				t.Errorf("PushStored: %v", err)
			}
			c := dial(t, srv, "/ws?user=a")
			push(srv, "a", Text, []byte("live"))
			for live, ponged := false, false; !live || method == "Ack" && !ponged; {
				op, payload, err := c.frame()
				if err != nil {
					t.Fatal(err)
				}
				if op == ws.OpPing {
					c.send(ws.OpPong, string(payload))
				}
				live = live || string(payload) == "live"
				ponged = ponged || op == ws.OpPing
			}
			await(t, "the panic", func() bool { return srv.Stats().Panics > 0 })
			if log.count("where=Store.") == 0 || log.count("panics_services_test.go") == 0 {
				t.Error("the panic, or its stack, is not logged")
			}
			c.reset()
			await(t, "end", func() bool { return srv.Count() == 0 })
		})
	}
}
