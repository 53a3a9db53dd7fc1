package limit

import "testing"

func TestMeter(t *testing.T) {
	r := &Rates{Messages: 1000, Bytes: 10, AtOnce: 100}
	for _, tt := range []struct {
		name string
		do   func(m *Meter) bool
		want bool
	}{
		{"as many bytes as allowed at once", func(m *Meter) bool { return m.Read(r, 100, 1) }, true},
		{"one more", func(m *Meter) bool { return m.Read(r, 101, 1) }, false},
		{"a message whose bytes were paid for", func(m *Meter) bool {
			m.Read(r, 100, 1)
			m.Consumed(100)
			return m.Message(r, 96, 1)
		}, true},
		{"a message that inflates beyond what is left", func(m *Meter) bool {
			m.Read(r, 10, 1)
			m.Consumed(10)
			return m.Message(r, 101, 1)
		}, false},
		{"a message that inflates to just what is left", func(m *Meter) bool {
			m.Read(r, 10, 1)
			m.Consumed(10)
			return m.Message(r, 100, 1)
		}, true},
		{"a control frame between fragments keeps the account", func(m *Meter) bool {
			m.Read(r, 90, 1)
			m.Consumed(90)
			m.Control(r, 1)
			return m.Message(r, 90, 1)
		}, true},
		{"bytes of one message do not pay for the next", func(m *Meter) bool {
			m.Read(r, 90, 1)
			m.Consumed(90)
			return m.Message(r, 1, 1) && m.Message(r, 90, 1)
		}, false},
		{"bytes that are put back", func(m *Meter) bool {
			m.Read(r, 100, 1)
			m.Unread(60)
			return m.Read(r, 60, 1)
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.do(new(Meter)); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
	t.Run("messages and control frames share a limit", func(t *testing.T) {
		r := &Rates{Messages: 1, Bytes: 1, AtOnce: 1000}
		var m Meter
		for range Burst / 2 {
			if !m.Control(r, 1) || !m.Message(r, 0, 1) {
				t.Fatal("rejected within the burst")
			}
		}
		if m.Control(r, 1) || m.Message(r, 0, 1) {
			t.Error("one more was accepted")
		}
	})
}
