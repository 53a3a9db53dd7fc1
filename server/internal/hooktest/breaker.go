package hooktest

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"fanfare/server/internal/hook"
)

// Flaky is a backend that fails until it works.
type Flaky struct {
	Answer string // while it works

	asked atomic.Int64
	works atomic.Bool
}

func (b *Flaky) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	b.asked.Add(1)
	if !b.works.Load() {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	io.WriteString(w, b.Answer)
}

// TestBreaker checks that after failures in a row clients are answered without a request, and
// that one request finds out that the backend works again. ask has a client ask f's hook, whose
// backend is b, and reports whether the backend was available; the first answer is counted as
// result. name begins the names of the metrics.
func (b *Flaky) TestBreaker(t *testing.T, f *Fixture, name, result string, ask func() bool) {
	// While the breaker is open one request in a while finds out whether the backend works.
	clients := int64(0)
	for ; f.Counts()["skipped"] < 100; clients++ {
		if ask() {
			t.Error("a client was answered by a backend that does not work")
		}
		if clients > 2000 {
			t.Fatalf("the circuit breaker does not open: %v", f.Counts())
		}
	}
	n, counts := b.asked.Load(), f.Counts()
	if n < hook.TripAfter || counts["failed"] != n || counts["skipped"] != clients-n {
		t.Errorf("%d clients, %d requests, metrics %v", clients, n, counts)
	}
	Await(t, "Ready says that the backend has failed", func() bool {
		ask()
		err := f.Hook.Ready()
		return err != nil && strings.Contains(err.Error(), "the backend has failed 10 times in a row: ") && strings.Contains(err.Error(), "are rejected")
	})
	b.works.Store(true)
	Await(t, "it works again", ask)
	if counts := f.Counts(); counts[name+"_open"] != 0 || counts[result] != 1 || f.Hook.Ready() != nil {
		t.Errorf("metrics %v, %v", counts, f.Hook.Ready())
	}
}
