package api

import (
	"io"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"fanfare/server"
	"fanfare/server/store"
)

// TestMetrics: what happened is counted.
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

// TestMetricsFromTheStart: every counter is there before anything is counted, so that an
// alert on its rate sees the first event.
func TestMetricsFromTheStart(t *testing.T) {
	s := newAPIServer(t, server.Config{Store: new(troubledStore), Cluster: &fakeCluster{}, MaxConnections: 100}, Config{MaxConnections: 7}, nil)
	body := s.call("GET", "/metrics", "").body
	for _, want := range []string{
		`fanfare_api_requests_total{method="POST",route="/v1/users/{user}/push",status="200"} 0`,
		`fanfare_api_requests_total{method="POST",route="/v1/users/{user}/push",status="401"} 0`,
		`fanfare_api_requests_total{method="POST",route="/v1/users/{user}/push",status="503"} 0`,
		`fanfare_api_requests_total{method="POST",route="/v1/push",status="415"} 0`,
		`fanfare_api_requests_total{method="GET",route="/readyz",status="503"} 0`,
		`fanfare_api_requests_total{method="other",route="other",status="404"} 0`,
		`fanfare_api_request_seconds_count{method="POST",route="/v1/users/{user}/push"} 0`,
		`fanfare_closes_total{code="1006"} 0`, `fanfare_closes_total{code="1013"} 0`,
		`fanfare_rejected_total{status="429"} 0`, `fanfare_limited_total{limit="api_batch_answers"} 0`,
		`fanfare_delivered_total{kind="durable"} 0`, `fanfare_delivery_seconds_count{kind="durable"} 0`,
		`fanfare_delivery_seconds_bucket{kind="broadcast",le="1.6e-05"} 0`, `fanfare_delivery_seconds_count{kind="several"} 0`,
		"fanfare_received_bytes_total 0", "fanfare_sent_bytes_total 0", "fanfare_queued_bytes 0",
		"fanfare_connections_limit 100", "fanfare_api_connections_limit 7", `fanfare_dropped_total{reason="slow"} 0`,
		"fanfare_api_panics_total 0", "fanfare_api_batch_lines_total 0",
		"fanfare_store_inbox_bytes 5", "fanfare_store_inbox_bytes_limit 10", "fanfare_store_position_bytes 3", "fanfare_store_appended_total 0",
		"fanfare_replay_gaps_total 0", "fanfare_replay_skipped_total 0", "fanfare_replay_unanswered_total 0", "fanfare_replay_panics_total 0",
		"fanfare_cluster_ready 1", "fanfare_cluster_connects_total 2", `fanfare_cluster_dropped_total{reason="expired"} 3`,
		`node="node-1"`, "fanfare_nodes 3", "fanfare_api_connections 1",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q", want)
		}
	}
	if strings.Contains(body, "process_network_") {
		t.Error("the traffic of other processes is among the metrics")
	}
	stats := s.call("GET", "/v1/stats", "").body
	for _, want := range []string{`"node":"node-1"`, `"connects_total":2`, `"dropped_total_expired":3`, `"max_inbox_bytes":10`, `"gaps":0`} {
		if !strings.Contains(stats, want) {
			t.Errorf("no %q in %s", want, stats)
		}
	}
}

// TestRequestMetrics: requests are counted by what they asked for and what was answered.
func TestRequestMetrics(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{}, nil)
	for _, r := range [][3]string{
		{"POST", "/v1/users/alice/push", "x"}, {"POST", "/v1/users/b%2Fb/push", "x"}, {"POST", "/v1/users/alice/push?durable=x", "x"},
		{"GET", "/v1/nothing", ""}, {"BREW", "/v1/push", ""}, {"POST", "/v1/batch", "{}\n" + `{"broadcast":true,"data":1}` + "\n"},
	} {
		s.call(r[0], r[1], r[2])
	}
	s.ask("no HTTP\r\n\r\n")
	body := s.call("GET", "/metrics", "").body
	for _, want := range []string{
		`fanfare_api_requests_total{method="POST",route="/v1/users/{user}/push",status="200"} 2`,
		`fanfare_api_requests_total{method="POST",route="/v1/users/{user}/push",status="400"} 1`,
		`fanfare_api_request_seconds_count{method="POST",route="/v1/users/{user}/push"} 3`,
		`fanfare_api_requests_total{method="POST",route="/v1/batch",status="200"} 1`,
		`fanfare_api_requests_total{method="other",route="other",status="404"} 1`,
		`fanfare_api_requests_total{method="other",route="other",status="405"} 1`,
		`fanfare_api_requests_total{method="other",route="other",status="400"} 1`,
		"fanfare_api_batch_lines_total 2", "fanfare_api_batch_lines_failed_total 1",
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("no %q", want)
		}
	}
	if f := s.api.figures().API; f.ReceivedBytes == 0 || f.SentBytes < int64(len(body)) {
		t.Errorf("%d bytes in, %d out", f.ReceivedBytes, f.SentBytes)
	}
}

// TestRequestTime: a request is timed from its head to its answer, by the clock of the API.
func TestRequestTime(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{}, nil)
	a, err := New(s.Server, Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Shutdown()
	at := time.Unix(1e9, 0)
	a.now = func() time.Time { at = at.Add(3 * time.Second); return at }
	var body string
	for _, path := range []string{"/healthz", "/metrics"} {
		var ctx fasthttp.RequestCtx
		ctx.Request.SetRequestURI(path)
		ctx.Request.Header.SetHost("localhost")
		a.serve(&ctx)
		body = string(ctx.Response.Body())
	}
	if want := `fanfare_api_request_seconds_sum{method="GET",route="/healthz"} 3` + "\n"; !strings.Contains(body, want) {
		t.Errorf("no %q in %s", want, body)
	}
}

// TestEveryFigureIsAMetric: a number that is added to /v1/stats is exported, too.
func TestEveryFigureIsAMetric(t *testing.T) {
	exceptions := map[string]string{
		"Slow": "Dropped has it", "Rejected": "Limited has it", "Displaced": "Limited has it", "AnswersFull": "Limited has it",
		"UptimeSeconds": "process_start_time_seconds", "Goroutines": "go_goroutines", "RSSBytes": "process_resident_memory_bytes",
		"HeapAllocBytes": "go_memstats_heap_alloc_bytes", "HeapInuseBytes": "go_memstats_heap_inuse_bytes",
		"Metrics": "Measured", "Version": "info", "Node": "info", "Transport": "info", "Status": "/readyz",
	}
	for _, part := range []any{figures{}, server.Stats{}, server.ReplayStats{}, server.TLSStats{}, apiFigures{}, storeFigures{}, store.Stats{}, clusterFigures{}} {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(part)) {
			_, exception := exceptions[f.Name]
			_, metric := f.Tag.Lookup("metric")
			inner := f.Type.Kind() == reflect.Struct || f.Type.Kind() == reflect.Pointer
			if !f.Anonymous && !metric && !exception {
				t.Errorf("%T.%s has no tag metric", part, f.Name)
			}
			if metric && f.Tag.Get("help") == "" && (!inner || f.Type == reflect.TypeFor[server.Histogram]()) {
				t.Errorf("%T.%s has no tag help", part, f.Name)
			}
		}
	}
}
