package api

import (
	"runtime"
	"runtime/metrics"

	"github.com/go-json-experiment/json"
	"github.com/valyala/fasthttp"

	"fanfare/server"
	"fanfare/server/store"
)

// figures are what GET /v1/stats answers: current state, and counters since the
// start.
type figures struct {
	Version string `json:"version"`

	*server.Stats `json:",inline"`

	Goroutines     int    `json:"goroutines"`
	HeapAllocBytes uint64 `json:"heap_alloc_bytes"`
	HeapInuseBytes uint64 `json:"heap_inuse_bytes"`
	RSSBytes       int64  `json:"rss_bytes,omitzero"` // where the system tells it

	APIPanics int64         `json:"api_panics"`
	Inbox     *inboxFigures `json:"inbox,omitzero"`
}

// inboxFigures are those of the store, and of the delivery of stored messages.
type inboxFigures struct {
	store.Stats `json:",inline"`
	Ready       bool `json:"ready"`
}

func (a *API) stats(ctx *fasthttp.RequestCtx, _ names) *problem {
	answerJSON(ctx, a.figures())
	return nil
}

func answerJSON(ctx *fasthttp.RequestCtx, v any) {
	body, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		panic("BUG: api: plain data without JSON: " + err.Error())
	}
	ctx.SetContentType(typeJSON)
	ctx.SetBody(append(body, '\n'))
}

func (a *API) figures() *figures {
	f := &figures{
		Version:    a.cfg.Version,
		Stats:      a.srv.Stats(),
		Goroutines: runtime.NumGoroutine(),
		RSSBytes:   residentBytes(),
		APIPanics:  a.panics.Load(),
	}
	f.Limited["api_connections"] = a.unserved.Load()
	f.HeapAllocBytes, f.HeapInuseBytes = heap()
	if st := a.limits.Store; st != nil {
		f.Inbox = &inboxFigures{st.Stats(), st.Ready() == nil}
	}
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
