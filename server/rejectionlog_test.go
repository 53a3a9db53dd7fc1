package server

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"fanfare/netpoll"
)

// Each reason has one line per ten seconds, with the count and the last client.
func TestRejectionLog(t *testing.T) {
	log := new(logBuffer)
	rl := rejectionLog{log: log.logger()}
	origin := Reject(403, "pages of a may not connect").(*Rejection)
	origin.Reason = "origin not allowed"
	at := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}) }
	rl.summarize(1)
	if log.count("") > 1 {
		t.Error("a line is logged though nothing was rejected")
	}
	for i := range 3 {
		rl.note(origin, at(i), fmt.Appendf(nil, "https://page%d", i))
	}
	rl.note(errFull, at(9), nil)
	rl.summarize(1)
	if log.count(`msg="handshakes rejected" status=403 reason="origin not allowed" count=3 last_address=192.0.2.2 last_origin="\"https://page2\""`) != 1 ||
		log.count(`status=503 reason="the server is full, try again later" count=1 last_address=192.0.2.9`+"\n") != 1 || log.count("level=INFO") != 2 {
		t.Errorf("logged:\n%s", &log.buf)
	}
	rl.note(errFull, at(1), nil)
	rl.summarize(rejectionsEvery)
	if log.count("level=INFO") != 2 {
		t.Error("the next summary comes too early")
	}
	rl.summarize(1 + rejectionsEvery)
	if log.count("level=INFO") != 3 {
		t.Error("the next summary does not come")
	}
	if log.count("level=DEBUG") != 0 {
		t.Error("debug lines at info")
	}
}

// Texts that an Identifier makes up, and long origins, do not fill memory.
func TestRejectionLogIsBounded(t *testing.T) {
	log := new(logBuffer)
	rl := rejectionLog{log: log.logger()}
	for i := range 10 * maxReasons {
		rl.note(Reject(400, fmt.Sprint("reason ", i)).(*Rejection), netip.Addr{}, []byte(strings.Repeat("x", 1<<16)))
	}
	if n := len(rl.since); n != maxReasons+1 {
		t.Errorf("%d reasons are kept, want %d and one for the rest", n, maxReasons)
	}
	rl.flush(1)
	if log.count(fmt.Sprint("reason=other count=", 9*maxReasons)) != 1 || log.buf.Len() > 20_000 {
		t.Errorf("logged %d bytes", log.buf.Len())
	}
}

// Over sockets: at debug each rejection is a line, whether or not the request was read.
func TestRejectionsAreLogged(t *testing.T) {
	overTransports(t, func(t *testing.T, kind netpoll.Transport) {
		log := new(logBuffer)
		logger := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		srv := start(t, Config{Transport: kind, MaxConnections: 1, Logger: logger, AllowOrigins: []string{"https://app.example"}})
		for _, tt := range []struct{ request, want string }{
			{handshakeFor("/echo", "Origin: https://evil.example"), `level=DEBUG msg="handshake rejected" status=403 text="pages of origin \"https://evil.example\" may not connect: ` +
				`it is not that of host \"localhost\", and the allowed origins (Config.AllowOrigins) do not contain it" address=127.0.0.1 origin="\"https://evil.example\""`},
			{handshakeFor("/nowhere"), `status=404`},
			{"\x00 not HTTP\r\n", `status=400 text="malformed request line" address=127.0.0.1 origin="\"\""`},
			{"\x16\x03\x01", `status=400 text="a TLS handshake arrived at a listener without TLS: `},
			{handshakeFor("/ws?user=%00"), `status=400 text="user: `},
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
		}
		dial(t, srv, "/echo")
		connect(t, srv).answer()
		if n := log.count(`status=503 text="the server is full, try again later" address=127.0.0.1`); n != 1 {
			t.Errorf("%d lines for the connection that found the server full", n)
		}
	})
}
