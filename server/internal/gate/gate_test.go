package gate

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"fanfare/server/store"
)

// fakeStore notes what was begun, and finishes it when the channel is closed. Methods that are
// not here panic.
type fakeStore struct {
	store.Store
	epoch  string
	begun  []string
	purged int
	finish chan struct{} // nil: at once
}

func (f *fakeStore) Epoch(store.Box) string { return f.epoch }

func (f *fakeStore) Begin(b store.Box, e store.Entry) store.Pending {
	f.begun = append(f.begun, e.ID)
	return fakePending{f, uint64(len(f.begun))}
}

func (f *fakeStore) wait(ctx context.Context) error {
	if f.finish == nil {
		return ctx.Err()
	}
	select {
	case <-f.finish:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *fakeStore) Purge(ctx context.Context, b store.Box) (uint64, error) {
	f.purged++
	return 3, f.wait(ctx)
}

type fakePending struct {
	f      *fakeStore
	offset uint64
}

func (p fakePending) Finish(ctx context.Context) (store.Receipt, error) {
	return store.Receipt{Offset: p.offset, Prev: p.offset - 1}, p.f.wait(ctx)
}

// fakeSuccessor is the process that the store moves to.
type fakeSuccessor struct{ fakeStore }

func (f *fakeSuccessor) Begin(b store.Box, e store.Entry) func() (Stored, error) {
	f.begun = append(f.begun, e.ID)
	return func() (Stored, error) { return Stored{Moved: true, Receivers: 5}, nil }
}

func (f *fakeSuccessor) Purge(store.Box) (uint64, error) {
	f.purged++
	return 4, nil
}

var (
	background = context.Background()
	alice      = store.Box{User: "alice"}
)

func begin(g *Gate, ids ...string) (all []*Pending) {
	for _, id := range ids {
		all = append(all, g.Begin(alice, store.Entry{ID: id}))
	}
	return all
}

func TestOpen(t *testing.T) {
	f := &fakeStore{epoch: "e"}
	g := New(f)
	st, err := begin(g, "a")[0].Finish(background)
	if want := (Stored{Receipt: store.Receipt{Offset: 1}, Epoch: "e", Began: "e"}); err != nil || st != want {
		t.Errorf("%+v, %v: want %+v", st, err, want)
	}
	if n, err := g.Purge(background, alice); n != 3 || err != nil {
		t.Errorf("purged %d, %v", n, err)
	}
	if err := g.Release(background); err != nil {
		t.Errorf("nothing is in progress, and Release returns %v", err)
	}
	if err := g.Release(background); err == nil {
		t.Error("the store was released twice")
	}
}

// TestRestore: messages that came while the store was released pass in their order.
func TestRestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeStore{}
		g := New(f)
		g.Release(background)
		all := begin(g, "a", "b", "c")
		canceled, cancel := context.WithCancel(background)
		cancel()
		if _, err := all[1].Finish(canceled); !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("canceled: %v", err)
		}
		if _, err := g.Purge(canceled, alice); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("Purge: %v", err)
		}
		if g.Waiting() != 2 || len(f.begun) != 0 {
			t.Errorf("%d wait, and the store has %v", g.Waiting(), f.begun)
		}
		purged := make(chan uint64)
		go func() {
			n, _ := g.Purge(background, alice)
			purged <- n
		}()
		synctest.Wait()
		if f.purged != 0 {
			t.Error("a store that is released was purged")
		}
		g.Restore()
		all = append(all, begin(g, "d")...)
		if n := <-purged; n != 3 {
			t.Errorf("purged %d", n)
		}
		if want := []string{"a", "c", "d"}; !slices.Equal(f.begun, want) {
			t.Errorf("the store has %v: want %v", f.begun, want)
		}
		for i, p := range slices.Delete(all, 1, 2) {
			if st, err := p.Finish(background); err != nil || st.Offset != uint64(i+1) {
				t.Errorf("message %d: %+v, %v", i, st, err)
			}
		}
	})
}

// TestMove: messages that waited, and later ones, go to the successor in their order.
func TestMove(t *testing.T) {
	f, to := &fakeStore{}, &fakeSuccessor{}
	g := New(f)
	g.Move(to)
	begin(g, "here")
	g.finished()
	g.Release(background)
	all := begin(g, "a", "b")
	g.Move(to)
	g.Restore()
	all = append(all, begin(g, "c")...)
	if want := []string{"a", "b", "c"}; !slices.Equal(to.begun, want) || len(f.begun) != 1 {
		t.Errorf("the successor has %v: want %v; the store has %v", to.begun, want, f.begun)
	}
	for _, p := range all {
		if st, err := p.Finish(background); err != nil || !st.Moved || st.Receivers != 5 {
			t.Errorf("%+v, %v", st, err)
		}
	}
	if n, err := g.Purge(background, alice); n != 4 || err != nil || f.purged != 0 {
		t.Errorf("purged %d, %v", n, err)
	}
}

// TestReleaseWaits: Release waits for every call that the store has, and is taken back if they
// do not end in time.
func TestReleaseWaits(t *testing.T) {
	for name, use := range map[string]func(g *Gate){
		"message": func(g *Gate) { begin(g, "a")[0].Finish(background) },
		"purge":   func(g *Gate) { g.Purge(background, alice) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeStore{finish: make(chan struct{})}
				g := New(f)
				go use(g)
				synctest.Wait()
				ctx, cancel := context.WithCancel(background)
				released := make(chan error, 1)
				go func() { released <- g.Release(ctx) }()
				synctest.Wait()
				if len(released) > 0 {
					t.Fatalf("Release has returned %v", <-released)
				}
				cancel()
				if err := <-released; !errors.Is(err, context.Canceled) {
					t.Errorf("Release: %v", err)
				}
				go func() { released <- g.Release(background) }()
				synctest.Wait()
				if len(released) > 0 {
					t.Fatalf("Release has returned %v", <-released)
				}
				close(f.finish)
				if err := <-released; err != nil {
					t.Errorf("Release: %v", err)
				}
			})
		})
	}
}

// TestCancelAfterPass: a message whose caller has left just when the store came back is finished.
func TestCancelAfterPass(t *testing.T) {
	f := &fakeStore{}
	g := New(f)
	g.Release(background)
	p := begin(g, "a")[0]
	g.Restore()
	g.cancel(p) // what Finish does if ctx was done first
	if err := g.Release(background); err != nil {
		t.Errorf("the message is not finished: %v", err)
	}
}
