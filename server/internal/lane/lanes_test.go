package lane

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func lanes(cfg Config) *Lanes[string] {
	cfg.Start = func(fn func()) { go fn() }
	return New[string](cfg)
}

// TestOrder: the functions of a key run one at a time, in order, and no more than Goroutines
// run together.
func TestOrder(t *testing.T) {
	l := lanes(Config{Goroutines: 3, PerKey: 100, Total: 1000, Bytes: 1000})
	var mu sync.Mutex
	ran := make(map[string][]int)
	var together, most atomic.Int64
	keys := []string{"a", "b", "c", "d", "e"}
	for i := range 50 {
		for _, key := range keys {
			err := l.Go(key, 1, func() {
				if n := together.Add(1); n > most.Load() {
					most.Store(n)
				}
				mu.Lock()
				ran[key] = append(ran[key], i)
				mu.Unlock()
				together.Add(-1)
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := l.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if !slices.IsSorted(ran[key]) || len(ran[key]) != 50 {
			t.Errorf("%s ran in the order %v", key, ran[key])
		}
	}
	if most.Load() > 3 {
		t.Errorf("%d ran together, want at most 3", most.Load())
	}
	if l.Len() != 0 || l.bytes != 0 || l.running != 0 || len(l.of) != 0 || l.Busy("a") {
		t.Errorf("something is left: %+v", l)
	}
}

// TestTurns: a key with many functions lets others go between them, and one that blocks holds
// one goroutine.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lanes(Config{Goroutines: 2, PerKey: 10, Total: 10, Bytes: 100})
		release := make(chan struct{})
		var ran []string
		l.Go("blocked", 1, func() { <-release })
		for _, key := range []string{"a", "a", "a", "b"} {
			l.Go(key, 1, func() { time.Sleep(time.Second); ran = append(ran, key) })
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := []string{"a", "b", "a", "a"}; !slices.Equal(ran, want) {
			t.Errorf("they ran in the order %v, want %v", ran, want)
		}
		bound, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.Wait(bound); !errors.Is(err, context.DeadlineExceeded) || !l.Busy("blocked") || l.Busy("a") {
			t.Errorf("Wait returns %v while a function blocks", err)
		}
		close(release)
		if err := l.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestBounds: what exceeds a bound is rejected, and has no effect.
func TestBounds(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  Config
		key  string
		size int
		want error
	}{
		{"per key", Config{Goroutines: 1, PerKey: 2, Total: 9, Bytes: 9}, "a", 1, ErrKeyFull},
		{"another key", Config{Goroutines: 1, PerKey: 2, Total: 9, Bytes: 9}, "b", 1, nil},
		{"in total", Config{Goroutines: 1, PerKey: 9, Total: 1, Bytes: 9}, "b", 1, ErrFull},
		{"bytes", Config{Goroutines: 1, PerKey: 9, Total: 9, Bytes: 9}, "b", 8, ErrFull},
		{"bytes that fit", Config{Goroutines: 1, PerKey: 9, Total: 9, Bytes: 9}, "b", 7, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := lanes(tt.cfg)
			release := make(chan struct{})
			for range 2 {
				if err := l.Go("a", 1, func() { <-release }); err != nil {
					t.Fatal(err)
				}
			}
			ran := false
			if err := l.Go(tt.key, tt.size, func() { ran = true }); err != tt.want {
				t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
			}
			close(release)
			synctest.Wait()
			if ran != (tt.want == nil) || l.Len() != 0 || l.bytes != 0 {
				t.Errorf("%s: ran is %t, and %d functions with %d bytes are left", tt.name, ran, l.Len(), l.bytes)
			}
		})
	}
}
