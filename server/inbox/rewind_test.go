package inbox

import (
	"testing"

	"fanfare/server/store"
)

func TestRewind(t *testing.T) {
	s := open(t, Config{Messages: 4})
	box := store.Box{Topic: "news"}
	if after, err := s.Rewind(ctx, box, 3); after != 0 || err != nil {
		t.Errorf("an empty topic: got %d, %v", after, err)
	}
	at := put(t, s, box, "0", "1")
	put(t, s, store.Box{Topic: "other"}, "x")
	at = append(at, put(t, s, box, "2", "3", "4", "5")...) // 0 and 1 make room
	for n, want := range map[int]uint64{1: at[4], 2: at[3], 4: at[1], 5: at[1], 1000: at[1]} {
		after, err := s.Rewind(ctx, box, n)
		if after != want || err != nil {
			t.Errorf("rewind %d: got %d, %v, want %d", n, after, err, want)
		}
		if got, gap := read(t, s, box, after); len(got) != min(n, 4) || gap {
			t.Errorf("rewind %d: got %q, gap %v", n, got, gap)
		}
		var plain struct{ store.Store }
		plain.Store = s // does not implement Rewinder
		if after, err := store.Rewind(ctx, plain, box, n); after != want || err != nil {
			t.Errorf("rewind %d by Read: got %d, %v, want %d", n, after, err, want)
		}
	}
	s.close()
	if _, err := s.Rewind(ctx, box, 1); err == nil {
		t.Error("a closed store rewinds")
	}
}
