package api

import (
	"strings"
	"testing"

	"fanfare/server/api/internal/body"
	"fanfare/server/inbox"
)

// TestLongBodiesNeedACPUSlot: while no slot is free, long bodies and batches wait and
// short bodies do not; afterwards all slots are free again.
func TestLongBodiesNeedACPUSlot(t *testing.T) {
	s := newAPIServer(t, withInbox(t, inbox.Config{}), Config{}, func(a *API) { a.slots = make(body.Slots, 1) })
	slots := s.api.slots
	long := strings.Repeat("x", stretch)
	for _, test := range []struct {
		name, path, body string
		status           int
		answer           string
	}{
		{"message", "/v1/users/offline/push", long, 200, `{"receivers":0}`},
		{"durable message", "/v1/users/stored/push?durable=true", long, 200, `{"offset":`},
		{"document", "/v1/push", `{"users":["offline"],"text":"` + long + `"}`, 200, `{"receivers":0}`},
		{"durable document", "/v1/push", `{"users":["stored"],"durable":true,"text":"` + long + `"}`, 200, `{"offset":`},
		{"broken document", "/v1/push", `{"users":["offline"],"text":"` + long, 400, `bad_json`},
		{"line", "/v1/batch", `{"users":["offline"],"text":"` + long + `"}` + "\n" + `{"users":["offline"],"text":"short"}`, 200, `{"receivers":0}` + "\n" + `{"receivers":0}`},
		{"short line", "/v1/batch", `{"users":["offline"],"text":"short"}`, 200, `{"receivers":0}`},
		{"durable line", "/v1/batch", `{"users":["stored"],"durable":true,"text":"` + long + `"}` + "\n" + `{"users":["stored"],"durable":true,"text":"short"}`, 200, `{"offset":`},
		{"broken line", "/v1/batch", long + "\n" + long, 200, `bad_json`},
	} {
		t.Run(test.name, func(t *testing.T) {
			slots <- struct{}{}
			answered := make(chan answer, 1)
			go func() { answered <- s.call("POST", test.path, test.body) }()
			for range 20 {
				if got := s.call("POST", "/v1/users/offline/push", "short"); got.status != 200 {
					t.Error(got)
				}
			}
			select {
			case got := <-answered:
				t.Errorf("without a CPU slot: %v", got)
				answered <- got
			default:
			}
			<-slots
			if got := <-answered; got.status != test.status || !strings.Contains(got.body, test.answer) {
				t.Error(got)
			}
			select {
			case slots <- struct{}{}:
				<-slots
			default:
				t.Error("the CPU slot is still acquired")
			}
		})
	}
	t.Run("too long", func(t *testing.T) {
		if got := s.call("POST", "/v1/batch", strings.Repeat("x", documentLimit(s.Config().MaxPayload)+2)); !strings.Contains(got.body, "too_big") {
			t.Error(got)
		}
		if len(slots) > 0 {
			t.Error("the CPU slot is still acquired")
		}
	})
}
