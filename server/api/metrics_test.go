package api

import (
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"fanfare/server"
)

// TestMetrics: what happened is to be seen in the metrics.
func TestMetrics(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{}, nil)
	alice := s.connect("/ws?user=a&topic=x")
	gone := s.connect("/ws?user=b")
	s.call("DELETE", "/v1/users/b?code=1000", "")
	gone.expectClose(1000, "")
	gone.Close()
	rejected := s.public()
	io.WriteString(rejected, handshake("GET /nowhere HTTP/1.1"))
	if got := readAnswer(t, rejected); got.status != 404 {
		t.Errorf("got %v", got)
	}
	s.push("a", server.Text, []byte("x"))
	alice.expect(server.Text, "x")
	for s.Stats().Sessions > 1 {
		runtime.Gosched()
	}
	got := s.call("GET", "/metrics", "")
	if got.status != http.StatusOK {
		t.Fatal(got)
	}
	body := got.body
	for _, want := range []string{
		"fanfare_sessions 1", "fanfare_users 1", "fanfare_topics 1", "fanfare_handshakes_total 2",
		`fanfare_delivered_total{kind="user"} 1`, `fanfare_closes_total{code="1000"} 1`,
		`fanfare_rejected_total{status="404"} 1`, `fanfare_dropped_total{reason="slow"} 0`, `fanfare_dropped_total{reason="full"} 0`, `fanfare_dropped_total{reason="ending"} 0`,
		`fanfare_limited_total{limit="connections_per_ip"} 0`, `fanfare_batch_seconds_bucket{le="+Inf"}`,
		`transport="epoll"`, "go_goroutines ", "process_open_fds ",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in:\n%s", want, body)
		}
	}
}
