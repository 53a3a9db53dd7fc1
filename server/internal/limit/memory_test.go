package limit

import (
	"math"
	"runtime/debug"
	"testing"
)

func TestMemoryHold(t *testing.T) {
	const limit = 1 << 20 // so 256 KiB may be held
	const most = limit / 4
	for _, tt := range []struct {
		name   string
		used   int64 // of limit
		others int   // bytes that others hold
		after  int
		a      Allowance
		want   bool
	}{
		{"room for a long message", 0, 0, most, ForMessage(), true},
		{"and for a long request", 0, 0, most, ForRequest(), true},
		{"one byte too many in sum", 0, most, 4<<10 + 1, ForMessage(), false},
		{"a typical message beyond the sum", 0, most, 4 << 10, ForMessage(), true},
		{"a request of two segments beyond the sum", 0, most, 1<<10 + 1, ForRequest(), false},
		{"a request of one segment beyond the sum", 0, most, 1 << 10, ForRequest(), true},
		{"a long message while memory is short", limit, 0, 1<<10 + 1, ForMessage(), false},
		{"a short message while memory is short", limit, 0, 1 << 10, ForMessage(), true},
		{"a long request while memory is short", limit, 0, 1<<10 + 1, ForRequest(), false},
		{"a short request while memory is short", limit, 0, 1 << 10, ForRequest(), true},
		{"less than before, while memory is short", limit, 0, 0, ForMessage(), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var m Memory
			m.Observe(tt.used, limit)
			m.Hold(0, tt.others, ForMessage())
			if got := m.Hold(0, tt.after, tt.a); got != tt.want {
				t.Errorf("%t, want %t", got, tt.want)
			}
			if got, want := m.Held(), int64(tt.others+tt.after); got != want {
				t.Errorf("%d bytes are held, want %d", got, want)
			}
			m.Hold(tt.after, 0, tt.a)
			m.Hold(tt.others, 0, ForMessage())
			if m.Held() != 0 {
				t.Errorf("%d bytes are held in the end", m.Held())
			}
		})
	}
}

func TestMemoryShort(t *testing.T) {
	var m Memory
	if !m.Hold(0, 1<<40>>10, ForRequest()) || m.Short() {
		t.Error("limited before anything was observed")
	}
	const limit = 1000
	for _, step := range []struct {
		used, limit int64
		want        bool
	}{{800, limit, false}, {801, limit, true}, {800, limit, false}, {801, limit, true}, {math.MaxInt64, math.MaxInt64, false}} {
		if got := m.Observe(step.used, step.limit); got != step.want || m.Short() != step.want {
			t.Errorf("%d of %d: short %t, want %t", step.used, step.limit, got, step.want)
		}
	}
}

func TestUsage(t *testing.T) {
	var u Usage
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(1 << 40))
	used, limit := u.Read()
	if limit != 1<<40 || used < 100<<10 || used > 1<<36 {
		t.Errorf("%d bytes of %d are in use", used, limit)
	}
	debug.SetMemoryLimit(math.MaxInt64)
	if _, limit := u.Read(); limit != math.MaxInt64 {
		t.Errorf("limit is %d, want none", limit)
	}
}
