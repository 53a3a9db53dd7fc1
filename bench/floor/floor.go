package floor

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
)

// Debug is the GODEBUG of a floor process.
const Debug = "asyncpreemptoff=1"

// Serve runs loops loops on listen, and the API on api, until one of them fails. With the file names of a certificate and
// its key it serves TLS 1.3.
func Serve(listen, api string, loops int, cert, key string) error {
	addr, err := netip.ParseAddrPort(listen)
	if err != nil {
		return fmt.Errorf("floor: listen address: %w", err)
	}
	var config *tls.Config
	if cert != "" {
		if loops > 1 {
			return errors.New("floor: TLS needs a single loop, which collects the garbage of handshakes")
		}
		if config, err = loadTLS(cert, key); err != nil {
			return err
		}
	}
	debug.SetGCPercent(-1)
	runtime.GC() // finish a running cycle: later it would stop all goroutines and wait for the loops
	runtime.GOMAXPROCS(loops + 1)
	all := make([]*loop, loops)
	for i := range all {
		if all[i], err = newLoop(addr); err != nil {
			return err
		}
		if config != nil {
			all[i].config, all[i].tls = config, make([]*secured, maxConns)
		}
		go all[i].run()
	}
	open := func() (n int64) {
		for _, l := range all {
			n += l.open.Load()
		}
		return n
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /v1/broadcast", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		f := frame(body)
		for _, l := range all {
			l.post(f)
		}
		json.NewEncoder(w).Encode(map[string]int64{"receivers": open()})
	})
	mux.HandleFunc("GET /v1/stats", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]int64{"sessions": open(), "goroutines": int64(runtime.NumGoroutine())})
	})
	fmt.Fprintln(os.Stderr, "floor: listening on", listen)
	return http.ListenAndServe(api, mux)
}
