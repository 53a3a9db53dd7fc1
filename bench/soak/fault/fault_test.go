package fault

import (
	"testing"
	"time"
)

// TestFaults is a short run.
func TestFaults(t *testing.T) {
	t.Parallel()
	p := programs(t)
	r, err := Run(ctx, Options{Fanfare: p.Fanfare, NATS: p.NATS, Duration: 8 * time.Second, Log: t.Logf})
	t.Logf("%+v", r)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Err(); err != nil {
		t.Error(err)
	}
}
