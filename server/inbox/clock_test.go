package inbox

import (
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"fanfare/server/inbox/internal/subject"
	"fanfare/server/store"
)

// TestClock: when a message expires, and where a new stream begins, follow the clock of
// the store.
func TestClock(t *testing.T) {
	at := time.Date(2040, 5, 6, 7, 8, 9, 0, time.UTC)
	for name, cfg := range map[string]Config{
		"embedded": {Dir: t.TempDir()},
		"outside":  {URL: outside(t, natsserver.Options{})},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.Logger = quiet
			s, err := openWithClock(ctx, cfg, func() time.Time { return at })
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			box := user("u")
			r, err := add(s, box, store.Entry{Payload: []byte("x"), TTL: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			if first := subject.FirstOffset(at, 0); cfg.URL != "" && r.Offset != first {
				t.Errorf("first offset %d, want %d", r.Offset, first)
			}
			p, err := s.Read(ctx, box, 0, 1)
			if err != nil || len(p.Messages) != 1 {
				t.Fatal(p, err)
			}
			if got, want := p.Messages[0].Expires, at.Add(time.Hour); !got.Equal(want) {
				t.Errorf("expires %v, want %v", got, want)
			}
		})
	}
}
