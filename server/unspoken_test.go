package server

import (
	"log/slog"
	"testing"

	"fanfare/netpoll"
)

// TestUnspokenProtocol: a handshake that offers only sub-protocols which the endpoint does not
// have is accepted without one, counted and logged. A token among them is not logged.
func TestUnspokenProtocol(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		log := new(logBuffer)
		srv := start(t, Config{Transport: transport, Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
		for _, tt := range []struct {
			offer, spoken, logged string // offer is a field of the handshake
		}{
			{"X: y", "", ""},
			{"Sec-WebSocket-Protocol:", "", ""},
			{"Sec-WebSocket-Protocol: fanfare.v1", "fanfare.v1", ""},
			{"Sec-WebSocket-Protocol: foo, fanfare.v1", "fanfare.v1", ""},
			{"Sec-WebSocket-Protocol: foo", "", "offered=foo address=127.0.0.1"},
			{"Sec-WebSocket-Protocol: graphql-transport-ws, foo", "", `offered="graphql-transport-ws, foo" address=127.0.0.1`},
			{"Sec-WebSocket-Protocol: bearer, eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln", "", `offered="bearer, (41 bytes)" address=127.0.0.1`},
			{"Sec-WebSocket-Protocol: a,b,c,d,e", "", `offered="a, b, c, d, …" address=127.0.0.1`},
		} {
			before, lines := srv.Stats().Unspoken, log.count("no offered sub-protocol is spoken here")
			c := connect(t, srv)
			c.say(handshakeFor("/ws?user=alice", tt.offer))
			resp := c.answer()
			if got := resp.Header.Get("Sec-WebSocket-Protocol"); resp.StatusCode != 101 || got != tt.spoken {
				t.Errorf("%s: %s, %q", tt.offer, resp.Status, got)
			}
			want := 0
			if tt.logged != "" {
				want = 1
			}
			if n, l := srv.Stats().Unspoken-before, log.count("no offered sub-protocol is spoken here")-lines; int(n) != want || l != want {
				t.Errorf("%s: counted %d times, logged %d times, want %d", tt.offer, n, l, want)
			}
			if tt.logged != "" && log.count(tt.logged) != 1 {
				t.Errorf("%s: not logged: %s", tt.offer, tt.logged)
			}
		}
		srv.rejectLog.Flush(1)
		if log.count(`level=INFO msg="no offered sub-protocol is spoken here, so browsers close the connection" count=4 last_offered="a, b, c, d, …" last_address=127.0.0.1`) != 1 {
			t.Error("there is no summary")
		}
		srv.rejectLog.Flush(2)
		if log.count("count=4") != 1 {
			t.Error("the summary comes twice")
		}
	})
}
