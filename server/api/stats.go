package api

import (
	"bytes"
	"net"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/valyala/fasthttp"

	"fanfare/server"
	"fanfare/server/api/internal/problem"
	"fanfare/server/store"
)

// figures are the answer of GET /v1/stats, and what GET /metrics exports: current state, and
// counters since the start. server.Stats explains the tags.
type figures struct {
	Version string `json:"version" info:"version"`
	Node    string `json:"node" info:"node"`

	*server.Stats `json:",inline"`

	Goroutines     int    `json:"goroutines"` // this and the next three are among those of the Go runtime
	HeapAllocBytes uint64 `json:"heap_alloc_bytes"`
	HeapInuseBytes uint64 `json:"heap_inuse_bytes"`
	RSSBytes       int64  `json:"rss_bytes,omitzero"` // where the system reports it

	APIPanics int64           `json:"api_panics" metric:"api_panics_total" help:"Panics recovered in the API."`
	API       apiFigures      `json:"api" metric:"api_"`
	Store     *storeFigures   `json:"store,omitzero" metric:"store_"`
	Cluster   *clusterFigures `json:"cluster,omitzero" metric:"cluster_"`
}

// apiFigures describe the API itself.
type apiFigures struct {
	Connections    int   `json:"connections" metric:"connections" help:"Open connections of the API."`
	MaxConnections int   `json:"max_connections" metric:"connections_limit" help:"Limit of fanfare_api_connections."`
	Rejected       int64 `json:"connections_rejected"`  // all places had a request in progress; in Limited
	Displaced      int64 `json:"connections_displaced"` // closed for new ones; in Limited
	Waiting        int64 `json:"waiting" metric:"waiting_requests" help:"Requests that wait for a stored message."`
	MaxWaiting     int64 `json:"max_waiting" metric:"waiting_requests_limit" help:"Limit of fanfare_api_waiting_requests."`
	ReceivedBytes  int64 `json:"received_bytes" metric:"received_bytes_total" help:"Bytes received by the API."`
	SentBytes      int64 `json:"sent_bytes" metric:"sent_bytes_total" help:"Bytes sent by the API."`
	Lines          int64 `json:"batch_lines" metric:"batch_lines_total" help:"Lines of batches that were served."`
	BadLines       int64 `json:"batch_lines_failed" metric:"batch_lines_failed_total" help:"Lines of batches that were answered with an error."`
	AnswerBytes    int64 `json:"batch_answer_bytes" metric:"batch_answer_bytes" help:"Answers to batches that their clients have not read."`
	TLSHandshakes  int64 `json:"tls_handshakes" metric:"tls_handshakes_total" help:"TLS handshakes completed at the API."`
	TLSFailed      int64 `json:"tls_handshakes_failed" metric:"tls_handshakes_failed_total" help:"TLS handshakes that failed at the API."`
	ProxyErrors    int64 `json:"proxy_header_errors" metric:"proxy_header_errors_total" help:"Connections of the API whose PROXY protocol header is missing or malformed."`
	AnswersFull    int64 `json:"batch_answers_too_many"` // batches ended because of that; in Limited
}

// storeFigures describe the store.
type storeFigures struct {
	store.Stats `json:",inline"`
	Ready       bool `json:"ready" metric:"ready" help:"1 while messages can be stored, else 0."`
}

// clusterFigures describe the connection to the other nodes.
type clusterFigures struct {
	Ready   bool             `json:"ready" metric:"ready" help:"1 while the other nodes can be reached, else 0."`
	Metrics map[string]int64 `json:"metrics,omitzero"` // see Measured
}

func (a *API) stats(ctx *fasthttp.RequestCtx, _ names) *problem.Problem {
	answerJSON(ctx, a.figures())
	return nil
}

func answerJSON(ctx *fasthttp.RequestCtx, v any) {
	body, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		panic("BUG: api: an answer cannot be JSON: " + err.Error())
	}
	ctx.SetContentType(problem.TypeJSON)
	ctx.SetBody(append(body, '\n'))
}

func (a *API) figures() *figures {
	f := &figures{
		Version:    a.cfg.Version,
		Node:       a.node(),
		Stats:      a.srv.Stats(),
		Goroutines: runtime.NumGoroutine(),
		RSSBytes:   residentBytes(),
		APIPanics:  a.panics.Load(),
		API: apiFigures{
			Connections:    a.conns.Len(),
			MaxConnections: a.conns.Limit(),
			Waiting:        a.waiting.Load(),
			MaxWaiting:     a.maxWaiting,
			Rejected:       a.unserved.Load(),
			Displaced:      a.displaced.Load(),
			ReceivedBytes:  a.received.Load(),
			SentBytes:      a.sent.Load(),
			Lines:          a.lines.Load(),
			BadLines:       a.badLines.Load(),
			AnswerBytes:    a.answerBytes.Load(),
			TLSHandshakes:  a.tlsHandshakes.Load(),
			TLSFailed:      a.tlsFailed.Load(),
			ProxyErrors:    a.proxyHeaders.Load(),
			AnswersFull:    a.answersFull.Load(),
		},
	}
	f.Limited["api_connections"] = f.API.Rejected + f.API.Displaced
	f.Limited["api_batch_answers"] = f.API.AnswersFull
	f.HeapAllocBytes, f.HeapInuseBytes = heap()
	if st := a.limits.Store; st != nil {
		f.Store = &storeFigures{st.Stats(), st.Ready() == nil}
	}
	if c := a.limits.Cluster; c != nil {
		f.Cluster = &clusterFigures{Ready: c.Ready() == nil}
		if m, ok := c.(Measured); ok {
			f.Cluster.Metrics = make(map[string]int64)
			m.EachMetric(func(name, _, _, value string, n int64) {
				if value != "" {
					name += "_" + value
				}
				f.Cluster.Metrics[name] = n
			})
		}
	}
	return f
}

// node names this process.
func (a *API) node() string {
	if a.cfg.Node != "" {
		return a.cfg.Node
	}
	if c := a.limits.Cluster; c != nil {
		return c.Name()
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	if public := a.srv.Addr(); public != nil {
		if _, port, err := net.SplitHostPort(public.String()); err == nil {
			return net.JoinHostPort(host, port)
		}
	}
	return host
}

// heap reads what runtime.MemStats calls HeapAlloc and HeapInuse, without stopping the
// program as runtime.ReadMemStats does.
func heap() (alloc, inuse uint64) {
	s := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
	}
	metrics.Read(s)
	return s[0].Value.Uint64(), s[0].Value.Uint64() + s[1].Value.Uint64()
}

// residentBytes returns the resident memory of the process: the second field of
// proc_pid_statm(5), in pages; 0 where the system has none.
func residentBytes() int64 {
	if runtime.GOOS != "linux" {
		return 0
	}
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	_, b, _ = bytes.Cut(b, []byte(" "))
	field, _, _ := bytes.Cut(b, []byte(" "))
	pages, _ := strconv.ParseInt(string(field), 10, 64)
	return pages * int64(os.Getpagesize())
}
