package drain

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestDueAt: slow rates ask for less than one session a step.
func TestDueAt(t *testing.T) {
	for _, tt := range []struct {
		rate int
		took time.Duration
		want int
	}{
		{4, 0, 1}, {4, 199 * time.Millisecond, 1}, {4, 200 * time.Millisecond, 2}, {4, 450 * time.Millisecond, 3}, {4, 700 * time.Millisecond, 4},
		{1, 0, 1}, {1, 949 * time.Millisecond, 1}, {1, 950 * time.Millisecond, 2},
		{2000, 0, 101}, {2000, Step, 201}, {2000, time.Second, 2101},
	} {
		if got := dueAt(tt.took, tt.rate); got != tt.want {
			t.Errorf("at %d a second %d are closed after %v, want %d", tt.rate, got, tt.took, tt.want)
		}
	}
}

// TestRun closes connections at their rate, those that come meanwhile too.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		open, closed := []int{1, 2, 3, 4, 5}, []int{}
		late := true
		cfg := Config[int]{
			Now:  func() time.Duration { return time.Since(begun) },
			Rate: func() int { return 4 },
			Open: func() int64 { return int64(len(open)) },
			List: func() []int { return open[:len(open):len(open)] },
			Close: func(c int) {
				closed = append(closed, c)
				if open = open[1:]; len(open) == 0 && late {
					late = false
					open = append(open, 6)
				}
			},
		}
		Run(context.Background(), cfg)
		if len(closed) != 6 || len(open) != 0 {
			t.Errorf("closed are %v, open are %v", closed, open)
		}
		if took, want := time.Since(begun), 1250*time.Millisecond; took < want || took > want+2*Step {
			t.Errorf("it took %v: want %v", took, want)
		}
		open = []int{1}
		cfg.Close = func(int) {} // it does not end
		cfg.List = func() []int { return nil }
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		Run(ctx, cfg)
		if ctx.Err() == nil {
			t.Error("Run has returned with an open connection")
		}
	})
}
