package peers

import (
	"encoding/json"
	"io"
	"net/http"
	"runtime"
)

// serveAPI serves the HTTP API. send writes a message to each connection.
func serveAPI[C comparable](addr string, h *hub[C], send func(to []C, body []byte)) error {
	mux := http.NewServeMux()
	push := func(receivers func(*http.Request) []C) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			to := receivers(r)
			send(to, body)
			json.NewEncoder(w).Encode(map[string]int{"receivers": len(to)})
		}
	}
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /v1/broadcast", push(func(*http.Request) []C { return h.all() }))
	mux.HandleFunc("POST /v1/users/{user}/push", push(func(r *http.Request) []C { return h.user(r.PathValue("user")) }))
	mux.HandleFunc("POST /v1/topics/{topic}/push", push(func(r *http.Request) []C { return h.topic(r.PathValue("topic")) }))
	mux.HandleFunc("GET /v1/stats", func(w http.ResponseWriter, _ *http.Request) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		sessions, users := h.size()
		json.NewEncoder(w).Encode(map[string]uint64{
			"sessions": uint64(sessions), "users": uint64(users), "goroutines": uint64(runtime.NumGoroutine()),
			"heap_alloc_bytes": m.HeapAlloc, "heap_inuse_bytes": m.HeapInuse,
		})
	})
	return http.ListenAndServe(addr, mux)
}

// first returns the error of the first of two servers to end. Neither should end.
func first(a, b func() error) error {
	end := make(chan error, 2)
	go func() { end <- a() }()
	go func() { end <- b() }()
	return <-end
}
