package servers

import (
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// TestConnect: a server that closes some new connections, because it has few places for them, gets as many as it keeps.
func TestConnect(t *testing.T) {
	const want = 7
	var accepted, open atomic.Int32
	api := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; open.Load() < want && i < 100; i++ { // so that calls overlap
			time.Sleep(time.Millisecond)
		}
		w.Write([]byte("{}"))
	}))
	api.Config.ConnState = func(c net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			if open.Add(1); accepted.Add(1)%3 == 1 {
				c.Close()
			}
		case http.StateClosed:
			open.Add(-1)
		}
	}
	api.Start()
	defer api.Close()
	s := &Server{API: api.URL, http: newAPIClient()}
	s.http.Dial = s.dialAPI
	defer s.http.CloseIdleConnections()
	if err := s.Connect(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if open.Load() < want || accepted.Load() <= want {
		t.Errorf("%d of %d connections are open", open.Load(), accepted.Load())
	}
}
