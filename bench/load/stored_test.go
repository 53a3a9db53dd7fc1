package load

import (
	"testing"
	"time"
)

// A stored message comes during Dial, once, to the users that have one.
func TestDialStored(t *testing.T) {
	stored := func(target, seq uint32) string {
		return string(rawFrame(0x81, Message{Kind: KindUser, Target: target, Seq: seq}.Append(nil, 64)))
	}
	for name, tt := range map[string]struct {
		every  int
		frames string
		fault  func(*Faults) int // nil: none
	}{
		"received":     {1, stored(0, 0), nil},
		"never came":   {1, "", func(f *Faults) int { return f.Lost }},
		"twice":        {1, stored(0, 0) + stored(0, 0), func(f *Faults) int { return f.Duplicated }},
		"of another":   {1, stored(1, 0), func(f *Faults) int { return f.Foreign }},
		"corrupt":      {1, string(rawFrame(0x81, []byte("x"))), func(f *Faults) int { return f.Corrupt }},
		"not expected": {0, stored(0, 0), func(f *Faults) int { return f.Foreign }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newLiar(t, func(s *liar) { s.greet = func(answer string) string { return answer + tt.frames } })
			c := newClient(t, s)
			limit := 10 * time.Second
			if tt.fault != nil {
				limit = 300 * time.Millisecond
			}
			d := c.Dial(DialPlan{Count: 1, Window: 1, Limit: limit, Path: "/ws", Stored: tt.every})
			if d.Opened != 1 {
				t.Fatalf("%+v", d)
			}
			f := c.Faults()
			if tt.fault == nil && f.Err() != nil || tt.fault != nil && tt.fault(&f) == 0 {
				t.Errorf("%+v", f)
			}
		})
	}
}
