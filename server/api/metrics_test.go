package api

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestMetrics: what happened is to be seen in the metrics.
func TestMetrics(t *testing.T) {
	srv := start(t, Config{API: "127.0.0.1:0"})
	dial(t, srv, "/ws?user=a&topic=x")
	gone := dial(t, srv, "/ws?user=b")
	gone.send(0x8, closePayload(1000, ""))
	gone.wantClose(1000)
	gone.wantEnd()
	refused := connect(t, srv)
	refused.say(handshakeFor("/nowhere"))
	refused.answer()
	srv.Push("a", Text, []byte("x"))
	eventually(t, "the session to be counted as closed", func() bool { return srv.Sessions() == 1 })

	resp, err := http.Get("http://" + srv.APIAddr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status, err)
	}
	for _, want := range []string{
		"fanfare_sessions 1", "fanfare_users 1", "fanfare_topics 1", "fanfare_handshakes_total 2",
		`fanfare_delivered_total{kind="user"} 1`, `fanfare_closes_total{code="1000"} 1`,
		`fanfare_refused_total{status="404"} 1`, `fanfare_dropped_total{reason="slow"} 0`, `fanfare_dropped_total{reason="full"} 0`, `fanfare_dropped_total{reason="ending"} 0`,
		`fanfare_limited_total{limit="connections_per_ip"} 0`, `fanfare_batch_seconds_bucket{le="+Inf"}`,
		`transport="epoll"`, "go_goroutines ", "process_open_fds ",
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("no %q in:\n%s", want, body)
		}
	}
}
