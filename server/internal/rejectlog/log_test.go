package rejectlog

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"fanfare/server/internal/handshake"
)

// buffer has the lines that were logged.
type buffer struct{ bytes.Buffer }

func (b *buffer) count(s string) int { return strings.Count(b.String(), s) }

// Each reason has one line per ten seconds, with the count and the last client.
func TestRejectionLog(t *testing.T) {
	var log buffer
	rl := New(slog.New(slog.NewTextHandler(&log, nil)))
	origin := &handshake.Rejection{Status: 403, Text: "pages of a may not connect", Reason: "origin not allowed"}
	full := &handshake.Rejection{Status: 503, Text: "the server is full, try again later"}
	at := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}) }
	rl.Summarize(1)
	if log.count("") > 1 {
		t.Error("a line is logged though nothing was rejected")
	}
	for i := range 3 {
		rl.Note(origin, at(i), fmt.Appendf(nil, "https://page%d", i))
	}
	rl.Note(full, at(9), nil)
	rl.Summarize(1)
	if log.count(`msg="handshakes rejected" status=403 reason="origin not allowed" count=3 last_address=192.0.2.2 last_origin="\"https://page2\""`) != 1 ||
		log.count(`status=503 reason="the server is full, try again later" count=1 last_address=192.0.2.9`+"\n") != 1 || log.count("level=INFO") != 2 {
		t.Errorf("logged:\n%s", &log.Buffer)
	}
	rl.Note(&handshake.Rejection{Text: "TLS handshake failed: x", Reason: "x"}, at(1), nil) // without an HTTP answer
	rl.Summarize(1 + every)
	if log.count(`msg="handshakes rejected" reason=x count=1`) != 1 {
		t.Errorf("logged:\n%s", &log.Buffer)
	}
	log.Reset()
	rl = New(slog.New(slog.NewTextHandler(&log, nil)))
	rl.Note(full, at(1), nil)
	rl.Summarize(1)
	rl.Note(full, at(1), nil)
	rl.Summarize(every)
	if log.count("level=INFO") != 1 {
		t.Error("the next summary comes too early")
	}
	rl.Summarize(1 + every)
	if log.count("level=INFO") != 2 {
		t.Error("the next summary does not come")
	}
	if log.count("level=DEBUG") != 0 {
		t.Error("debug lines at info")
	}
}

// Texts that an Identifier makes up, and long origins, do not fill memory.
func TestRejectionLogIsBounded(t *testing.T) {
	var log buffer
	rl := New(slog.New(slog.NewTextHandler(&log, nil)))
	for i := range 10 * maxReasons {
		rl.Note(&handshake.Rejection{Status: 400, Text: fmt.Sprint("reason ", i)}, netip.Addr{}, []byte(strings.Repeat("x", 1<<16)))
	}
	if n := len(rl.since); n != maxReasons+1 {
		t.Errorf("%d reasons are kept, want %d and one for the rest", n, maxReasons)
	}
	rl.Flush(1)
	if log.count(fmt.Sprint("reason=other count=", 9*maxReasons)) != 1 || log.Len() > 20_000 {
		t.Errorf("logged %d bytes", log.Len())
	}
}
