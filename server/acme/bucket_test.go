package acme

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"fanfare/server/internal/natstest"
)

// startNATS starts a NATS server with JetStream.
func startNATS(t *testing.T) (url string) {
	t.Helper()
	return natstest.Start(t, natsserver.Options{JetStream: true}).ClientURL()
}

func newBucket(t *testing.T, url string, lease time.Duration) *bucket {
	t.Helper()
	b, err := openBucket(&NATS{URL: url}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	b.leases.time = lease
	t.Cleanup(b.close)
	return b
}

func TestBucket(t *testing.T) {
	b := newBucket(t, startNATS(t), time.Minute)
	ctx := t.Context()
	if _, err := b.Load(ctx, "nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing entry: %v", err)
	}
	if _, err := b.List(ctx, "certificates", true); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing path: %v", err)
	}
	keys := []string{"certificates/ca.test-dir/a.test/a.test.crt", "certificates/ca.test-dir/a.test/a.test.key", "certificates/ca.test-dir/b.test/b.test.crt", "users/me@example.test/=x ä"}
	for _, k := range keys {
		if err := b.Store(ctx, k, []byte("value of "+k)); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range keys {
		got, err := b.Load(ctx, k)
		if string(got) != "value of "+k || err != nil {
			t.Errorf("%s: %q, %v", k, got, err)
		}
		info, err := b.Stat(ctx, k)
		if info.Key != k || info.Size != int64(len(got)) || !info.IsTerminal || time.Since(info.Modified) > patience || err != nil {
			t.Errorf("%s: %+v, %v", k, info, err)
		}
	}
	if info, err := b.Stat(ctx, "certificates/ca.test-dir"); info.IsTerminal || err != nil {
		t.Errorf("a path: %+v, %v", info, err)
	}
	if b.Exists(ctx, "certificates/ca") || !b.Exists(ctx, keys[0]) || !b.Exists(ctx, "users") {
		t.Error("Exists is wrong")
	}
	for _, tt := range []struct {
		path      string
		recursive bool
		want      string
	}{
		{"certificates/ca.test-dir", false, "certificates/ca.test-dir/a.test certificates/ca.test-dir/b.test"},
		{"certificates/ca.test-dir/a.test", true, strings.Join(keys[:2], " ")},
		{"certificates", true, strings.Join(keys[:3], " ")},
		{"", false, "certificates users"},
	} {
		got, err := b.List(ctx, tt.path, tt.recursive)
		if slices.Sort(got); strings.Join(got, " ") != tt.want || err != nil {
			t.Errorf("%q: %q, %v, want %s", tt.path, got, err, tt.want)
		}
	}
	if err := b.Delete(ctx, "certificates/ca.test-dir/a.test"); err != nil {
		t.Fatal(err)
	}
	if b.Exists(ctx, keys[0]) || b.Exists(ctx, keys[1]) || !b.Exists(ctx, keys[2]) {
		t.Error("Delete is wrong")
	}
}

// One node holds a lock. It is free when that unlocks it, or has vanished for the time of a
// lease.
func TestLock(t *testing.T) {
	url := startNATS(t)
	const lease = 1500 * time.Millisecond
	first, second := newBucket(t, url, lease), newBucket(t, url, lease)
	ctx := t.Context()
	revision := func() uint64 {
		kv, err := first.kv(ctx)
		if err != nil {
			t.Fatal(err)
		}
		e, err := kv.Get(ctx, escape(lockPrefix+"issue a.test"))
		if err != nil {
			t.Fatal(err)
		}
		return e.Revision()
	}
	if err := first.Lock(ctx, "issue a.test"); err != nil {
		t.Fatal(err)
	}
	if err := second.Lock(ctx, "issue b.test"); err != nil { // another one
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() { got <- second.Lock(ctx, "issue a.test") }()
	for range 3 { // longer than a lease
		before := revision()
		await(t, "the lock is renewed", func() bool { return revision() > before })
	}
	select {
	case err := <-got:
		t.Fatalf("both nodes hold the lock, %v", err)
	default:
	}
	if err := first.Unlock(ctx, "issue a.test"); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	second.leases.stop() // it vanishes
	if err := first.Lock(ctx, "issue a.test"); err != nil {
		t.Fatal(err)
	}
	if err := second.Unlock(ctx, "issue a.test"); err != nil { // and comes back
		t.Errorf("a lock that another node has taken over: %v", err)
	}
	waiting, cancel := context.WithCancel(ctx)
	cancel()
	if err := second.Lock(waiting, "issue a.test"); !errors.Is(err, context.Canceled) {
		t.Errorf("the lock of the first node: %v", err)
	}
	if err := second.Unlock(ctx, "issue c.test"); err == nil {
		t.Error("a lock that is not held is unlocked")
	}
	if list, err := first.List(ctx, "", true); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("locks are listed: %q, %v", list, err)
	}
}

func TestEscape(t *testing.T) {
	for _, key := range []string{"a", "a/b-c_d", "a.b", "=", "ä/ö", "a=2eb", ""} {
		e := escape(key)
		if got, ok := unescape(e); got != key || !ok || strings.ContainsAny(e, ". ") {
			t.Errorf("%q becomes %q and %q, %t", key, e, got, ok)
		}
	}
	for _, bad := range []string{"=", "=2", "=zz"} {
		if got, ok := unescape(bad); ok {
			t.Errorf("%q becomes %q", bad, got)
		}
	}
}
