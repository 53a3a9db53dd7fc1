package server

import (
	"encoding/json"
	"runtime"
	"runtime/metrics"
	"time"

	"github.com/valyala/fasthttp"
)

// Version of the program, for /v1/stats and the metrics. A program sets it before
// New, by the linker (-X fanfare/server.Version=…) or from its build information.
var Version = "unknown"

// figures are what GET /v1/stats answers: what is now, and counts since the start.
type figures struct {
	Version       string  `json:"version"`
	Transport     string  `json:"transport"`
	Status        string  `json:"status"`
	UptimeSeconds float64 `json:"uptime_seconds"`

	Sessions    int64 `json:"sessions"`
	Users       int   `json:"users"`
	Topics      int   `json:"topics"`
	Connections int64 `json:"connections"`
	Workers     int   `json:"workers"`

	Goroutines     int    `json:"goroutines"`
	HeapAllocBytes uint64 `json:"heap_alloc_bytes"`
	HeapInuseBytes uint64 `json:"heap_inuse_bytes"`
	RSSBytes       int64  `json:"rss_bytes,omitempty"` // where the system tells it

	Handshakes  int64            `json:"handshakes"`
	Plain       int64            `json:"plain_requests"`
	Aborted     int64            `json:"aborted_handshakes"`
	Refused     map[string]int64 `json:"refused_by_status"`
	Limited     map[string]int64 `json:"stopped_by_limit"`
	Received    int64            `json:"messages_received"`
	Delivered   map[string]int64 `json:"messages_delivered"`
	Dropped     map[string]int64 `json:"dropped_by_reason"`
	Closes      map[string]int64 `json:"closes_by_code"`
	Pings       int64            `json:"pings"`
	Dead        int64            `json:"missed_heartbeats"`
	Slow        int64            `json:"slow_consumers"`
	Forced      int64            `json:"forced_closes"`
	Panics      int64            `json:"hook_panics"`
	Opened      int64            `json:"connections_opened"`
	Closed      int64            `json:"connections_closed"`
	Broken      int64            `json:"broken_writes"`
	Stale       int64            `json:"stale_events"`
	Starved     int64            `json:"accept_pauses"`
	Behind      int64            `json:"workers_started_behind"`
	Blocked     int64            `json:"workers_started_blocked"`
	Saturated   int64            `json:"workers_saturated"`
	Yielded     int64            `json:"turns_yielded"`
	WaitSeconds float64          `json:"wait_seconds_total"`

	Nodes int           `json:"nodes"` // that share a NATS with this one, and this one
	Inbox *inboxFigures `json:"inbox,omitempty"`
}

func (a *api) stats(ctx *fasthttp.RequestCtx, _ names) *problem {
	answerJSON(ctx, a.srv.figures())
	return nil
}

func answerJSON(ctx *fasthttp.RequestCtx, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic("BUG: server: plain data makes no JSON: " + err.Error())
	}
	ctx.SetContentType(typeJSON)
	ctx.SetBody(append(body, '\n'))
}

func (srv *Server) figures() *figures {
	st, engine := &srv.stats, srv.engine.Stats()
	f := &figures{
		Version:       Version,
		Transport:     srv.engine.Transport().String(),
		Status:        statusNames[srv.status.Load()],
		UptimeSeconds: time.Since(srv.started).Seconds(),
		Sessions:      srv.sessions.Load(),
		Users:         srv.users.Users(),
		Topics:        srv.users.Topics(),
		Connections:   srv.connections.Load(),
		Workers:       engine.Workers,
		Goroutines:    runtime.NumGoroutine(),
		RSSBytes:      residentBytes(),
		Handshakes:    st.handshakes.Load(),
		Plain:         st.plain.Load(),
		Aborted:       st.aborted.Load(),
		Refused:       srv.refusals(),
		Received:      st.received.Load(),
		Delivered:     srv.deliveries(),
		Dropped:       srv.drops(),
		Limited:       srv.limited(),
		Closes:        srv.closes(),
		Pings:         st.pings.Load(),
		Dead:          st.dead.Load(),
		Slow:          st.slow.Load(),
		Forced:        st.forced.Load(),
		Panics:        st.panics.Load(),
		Opened:        engine.Opened,
		Closed:        engine.Closed,
		Broken:        engine.Broken,
		Stale:         engine.Stale,
		Starved:       engine.Starved,
		Behind:        engine.Overrun,
		Blocked:       engine.Blocked,
		Saturated:     engine.Saturated,
		Yielded:       engine.Yielded,
		WaitSeconds:   engine.WaitTotal.Seconds(),
		Nodes:         srv.nodeCount(),
		Inbox:         srv.inboxCounts(),
	}
	f.HeapAllocBytes, f.HeapInuseBytes = heap()
	return f
}

// heap reads what runtime.MemStats calls HeapAlloc and HeapInuse, without stopping
// the program as runtime.ReadMemStats does.
func heap() (alloc, inuse uint64) {
	s := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
	}
	metrics.Read(s)
	return s[0].Value.Uint64(), s[0].Value.Uint64() + s[1].Value.Uint64()
}
