package replay

import (
	"io"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"fanfare/internal/leak"
)

// TestMain fails the package if a goroutine is left.
func TestMain(m *testing.M) { leak.Main(m, 10*time.Second) }

func logTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

var discard = slog.New(slog.DiscardHandler)

// clock stands still until it is advanced, but for a nanosecond from one reading to
// the next: so no two events happen at the same time.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Unix(1e9, 0)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(1)
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	c.now = c.now.Add(d)
	c.mu.Unlock()
}

func itoa(n uint64) string { return strconv.FormatUint(n, 10) }
