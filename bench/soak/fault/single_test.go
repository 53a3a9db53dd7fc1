package fault

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"fanfare/bench/proc"
)

func start(t *testing.T, store string, args ...string) *single {
	t.Helper()
	p := programs(t)
	s, err := newSingle(t.TempDir(), store, p.Fanfare, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	if _, err := s.begin(ctx, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestKillPushes sends SIGKILL during 10,000 durable pushes, several times. All
// accepted messages arrive in order.
func TestKillPushes(t *testing.T) {
	t.Parallel()
	s := start(t, filepath.Join(t.TempDir(), "data"))
	h := newHistory()
	const pushes, streams, users = 10_000, 4, 100
	next := make([]int, users)
	for round := range 3 {
		var pushing sync.WaitGroup
		var once sync.Once
		killed := make(chan struct{})
		for stream := range streams {
			// Each stream has its own users, so that their numbers are in order.
			var mine []int
			for u := stream; u < users; u += streams {
				mine = append(mine, u)
			}
			numbers := make([]int, pushes/streams)
			for i := range numbers {
				next[mine[i%len(mine)]]++
				numbers[i] = next[mine[i%len(mine)]]
			}
			who := func(i int) string { return fmt.Sprintf("u%d", mine[i%len(mine)]) }
			pushing.Go(func() {
				s.batch(ctx, len(numbers), func(i int) (string, string) {
					h.try(who(i), numbers[i])
					return who(i), text(who(i), numbers[i])
				}, func(i int, st stored) {
					h.accept(who(i), numbers[i], st)
					if i == len(numbers)*(round+1)/4 {
						once.Do(func() { s.kill(); close(killed) })
					}
				})
			})
		}
		pushing.Wait()
		select {
		case <-killed:
		default:
			t.Fatal("all pushes failed before the kill\n" + s.tail())
		}
		if _, err := s.begin(ctx, 20*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	for u := range users {
		d := h.device(fmt.Sprintf("u%d", u), fmt.Sprintf("u%d/1", u), false)
		if err := s.replay(ctx, d, 10*time.Second); err != nil {
			t.Error(err)
		}
	}
	v := h.check()
	t.Logf("%d accepted, %d unknown, %d received", v.Accepted, v.Unknown, v.Received)
	if err := v.Err(); err != nil {
		t.Error(err)
	}
}

// TestRestart checks that 100,000 unread messages of 50,000 users survive SIGKILL.
func TestRestart(t *testing.T) {
	t.Parallel()
	s := start(t, filepath.Join(t.TempDir(), "data"))
	const messages, users = 100_000, 50_000
	h := newHistory()
	began := time.Now()
	who := func(i int) (string, int) { return fmt.Sprintf("u%d", i%users), i/users + 1 }
	err := s.batch(ctx, messages, func(i int) (string, string) {
		user, n := who(i)
		return user, text(user, n)
	}, func(i int, st stored) {
		if user, n := who(i); i%users%(users/200) == 0 { // a sample
			h.try(user, n)
			h.accept(user, n, st)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	pushed := time.Since(began)
	s.kill()
	ready, err := s.begin(ctx, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	rss, err := proc.RSS(s.pid())
	if err != nil {
		t.Fatal(err)
	}
	for user := range h.users {
		if err := s.replay(ctx, h.device(user, user+"/1", false), 10*time.Second); err != nil {
			t.Error(err)
		}
	}
	t.Logf("pushed in %v, ready in %v with %d MiB", pushed.Round(time.Millisecond), ready.Round(time.Millisecond), rss>>20)
	if err := h.check().Err(); err != nil {
		t.Error(err)
	}
	if rss > 300<<20 {
		t.Errorf("%d MiB", rss>>20)
	}
}

// TestDamage checks that a server does not start on a damaged store, and that its
// error says what to do.
func TestDamage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		damage func(file string) error
	}{
		{"cut", func(file string) error { return os.Truncate(file, 2000) }},
		{"garbage", func(file string) error { return os.WriteFile(file, []byte(strings.Repeat("garbage ", 1000)), 0o600) }},
		{"gone", os.Remove},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, filepath.Join(t.TempDir(), "data"))
			for n := range 100 {
				if _, err := s.push(ctx, "u", fmt.Sprint(n), text("u", n+1)); err != nil {
					t.Fatal(err)
				}
			}
			s.stop()
			files, err := blocks(s.dir)
			if err != nil || len(files) == 0 {
				t.Fatal(files, err)
			}
			for _, file := range files {
				if err := test.damage(file); err != nil {
					t.Fatal(err)
				}
			}
			_, err = s.begin(ctx, 20*time.Second)
			if err == nil {
				t.Fatal("the server starts on a damaged store")
			}
			last := s.tail()
			if !strings.Contains(last, "damaged") || !strings.Contains(last, "restore") || !strings.Contains(last, s.dir) {
				t.Errorf("the error does not say what to do: %s", last)
			}
		})
	}
}

// TestFullDisk checks that a full disk rejects durable pushes and not live ones, and
// that durable pushes resume without a restart when there is space again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	programs(t)
	d, err := mountDisk(filepath.Join(t.TempDir(), "disk"), 16<<20)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(d.unmount)
	s := start(t, filepath.Join(d.path, "data"), "--inbox-messages", "1000000", "--inbox-bytes", "1GiB")
	h := newHistory()
	padding := strings.Repeat("x", 16<<10)
	push := func(user string, n int) error {
		h.try(user, n)
		st, err := s.push(ctx, user, text(user, n), text(user, n))
		if err == nil {
			h.accept(user, n, st)
		}
		return err
	}
	fill := func(n int) error {
		_, err := s.push(ctx, "big", fmt.Sprint("big", n), padding)
		return err
	}
	var full error
	n := 0
	for full == nil && n < 2000 {
		n++
		if full = push("u", n); full == nil {
			full = fill(n)
		}
	}
	t.Logf("after %d messages: %v", n, full)
	// The server does not wait until JetStream, which does not answer when it cannot store, has timed out: that is a 503.
	if status(full) != http.StatusInsufficientStorage {
		t.Errorf("%d messages, then %v", n, full)
	}
	// Live pushes still work.
	if _, err := s.push(ctx, "u", "", "live"); err != nil {
		t.Errorf("live push: %v", err)
	}
	// Make space.
	if err := d.grow(64 << 20); err != nil {
		t.Fatal(err)
	}
	err = until(ctx, 20*time.Second, func(context.Context) error { n++; return push("u", n) })
	if err != nil {
		t.Errorf("with space again: %v\n%s", err, s.tail())
	}
	if err := s.ready(ctx, 5*time.Second); err != nil {
		t.Error(err)
	}
	dev := h.device("u", "u/1", false)
	if err := s.replay(ctx, dev, 10*time.Second); err != nil {
		t.Error(err)
	}
	if err := h.check().Err(); err != nil {
		t.Error(err)
	}
}
