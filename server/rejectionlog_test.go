package server

import (
	"log/slog"
	"testing"

	"fanfare/netpoll"
)

// Over sockets: at debug each rejection is a line, whether or not the request was read.
func TestRejectionsAreLogged(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		log := new(logBuffer)
		logger := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		srv := start(t, Config{Transport: transport, MaxConnections: 1, Logger: logger, AllowOrigins: []string{"https://app.example"}})
		rejected := int64(0)
		for _, tt := range []struct{ request, want string }{
			{handshakeFor("/echo", "Origin: https://evil.example"), `level=DEBUG msg="handshake rejected" status=403 text="pages of origin \"https://evil.example\" may not connect: ` +
				`it is not that of host \"localhost\", and the allowed origins (Config.AllowOrigins) do not contain it" address=127.0.0.1 origin="\"https://evil.example\""`},
			{handshakeFor("/nowhere"), `status=404`},
			{"\x00 not HTTP\r\n", `status=400 text="malformed request line" address=127.0.0.1 origin="\"\""`},
			{"\x16\x03\x01", `status=400 text="a TLS handshake arrived at a listener without TLS: `},
			{handshakeFor("/ws?user=%00"), `status=400 text="user: `},
			// Requests that are no handshakes, such as those of a proxy that removes Upgrade.
			{"GET /ws?user=a HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n", `status=426 text="This is a WebSocket endpoint. `},
			{"PUT /ws?user=a HTTP/1.1\r\nHost: localhost\r\n\r\n", `status=405 text="only GET is possible here" address=127.0.0.1`},
			{"GET /elsewhere HTTP/1.1\r\nHost: localhost\r\n\r\n", `status=404 text="nothing is at this path" address=127.0.0.1`},
			{"GET /elsewhere HTTP/1.1\r\n\r\n", `status=400 text="want exactly one Host field`},
		} {
			c := connect(t, srv)
			c.say(tt.request)
			c.answer()
			c.wantEnd()
			c.Close()
			if n := log.count(tt.want); n != 1 {
				t.Errorf("%d lines %s in\n%s", n, tt.want, &log.buf)
			}
			await(t, "it is gone", func() bool { return srv.connections.Load() == 0 })
			rejected++
			if n := total(srv.Stats().Rejected); n != rejected {
				t.Errorf("%d rejections are counted after %q, want %d", n, tt.request, rejected)
			}
		}
		dial(t, srv, "/echo")
		connect(t, srv).answer()
		if n := log.count(`status=503 text="the server is full, try again later" address=127.0.0.1`); n != 1 {
			t.Errorf("%d lines for the connection that found the server full", n)
		}
	})
}

func total(byStatus map[string]int64) (n int64) {
	for _, m := range byStatus {
		n += m
	}
	return n
}
