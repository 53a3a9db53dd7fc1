package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
)

// TestSmallMaxPayload: with a NATS server that allows 64 KiB in a message, live messages
// of any size reach sessions of other nodes, in fragments, and a durable one that NATS
// cannot store is rejected with 413.
func TestSmallMaxPayload(t *testing.T) {
	const limit = 64 << 10
	nats := "--nats=" + natsServer(t, func(o *natsserver.Options) { o.MaxPayload = limit }).ClientURL()
	a := startServer(t, nil, nats, "--durable-topic=kept", "--max-payload=2M", "--queue-bytes=8M")
	b := startServer(t, nil, nats, "--durable-topic=kept", "--max-payload=2M", "--queue-bytes=8M")
	c := b.connect("/ws?user=alice&topic=news&topic=kept")
	attempt(t, func() bool {
		for _, query := range []string{"user=alice", "topic=news", "topic=kept"} {
			if _, body := a.get(a.api + "/v1/sessions?" + query); !strings.Contains(body, `"id"`) {
				return false
			}
		}
		return true
	})
	users := make([]string, 20_000) // the document has more names than fit into one message of NATS
	for i := range users {
		users[i] = fmt.Sprint("user", i)
	}
	many, _ := json.Marshal(map[string]any{"users": append(users, "alice"), "text": "many"})
	for _, test := range []struct {
		name, path, contentType string
		body                    string
		received                string // empty: none
		status                  int
	}{
		{"live, just below", "/v1/users/alice/push", typeText, strings.Repeat("a", limit-100), "", 200},
		{"live, the limit", "/v1/users/alice/push", typeText, strings.Repeat("b", limit), "", 200},
		{"live, many fragments", "/v1/users/alice/push", typeText, strings.Repeat("c", 2<<20), "", 200},
		{"topic", "/v1/topics/news/push", typeText, strings.Repeat("d", 300<<10), "", 200},
		{"broadcast", "/v1/broadcast", typeText, strings.Repeat("e", 300<<10), "", 200},
		{"many users", "/v1/push", typeJSON, string(many), "many", 200},
		{"durable, fits", "/v1/users/alice/push?durable=true", typeText, strings.Repeat("f", limit-(4<<10)), "", 200},
		{"durable topic, fits", "/v1/topics/kept/push", typeText, strings.Repeat("g", limit-(4<<10)), "", 200},
		{"durable, one byte more", "/v1/users/alice/push?durable=true", typeText, strings.Repeat("h", limit-(4<<10)+1), "", 413},
		{"durable, too big", "/v1/users/alice/push?durable=true", typeText, strings.Repeat("h", 1<<20), "", 413},
		{"durable topic, too big", "/v1/topics/kept/push", typeText, strings.Repeat("i", 1<<20), "", 413},
		{"durable document, too big", "/v1/push", typeJSON, `{"users":["alice"],"durable":true,"text":"` + strings.Repeat("j", 1<<20) + `"}`, "", 413},
		{"beyond --max-payload", "/v1/users/alice/push", typeText, strings.Repeat("k", 2<<20+1), "", 413},
		{"afterwards", "/v1/users/alice/push", typeText, "still there", "", 200},
	} {
		resp, err := http.Post("http://"+a.api+test.path, test.contentType, strings.NewReader(test.body))
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		answer, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != test.status || strings.Contains(string(answer), `"complete":false`) ||
			test.status == 200 && !strings.Contains(string(answer), `"receivers":1`) {
			t.Errorf("%s: %d %s, want %d", test.name, resp.StatusCode, answer, test.status)
			continue
		}
		if test.status != 200 {
			continue
		}
		want := test.received
		if want == "" {
			want = test.body
		}
		c.SetReadDeadline(time.Now().Add(bound))
		if got, _ := receive(t, c); got != want {
			t.Errorf("%s: received %d bytes %.20q, want %d", test.name, len(got), got, len(want))
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
