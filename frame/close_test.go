package frame

import (
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

func TestParseClose(t *testing.T) {
	for _, tt := range []struct {
		name    string
		payload string
		code    ws.StatusCode
		reason  string
		err     ws.StatusCode
	}{
		{"empty is 1005 (7.1.5)", "", 1005, "", 0},
		{"half a code", "\x03", 0, "", 1002},
		{"normal", "\x03\xe8", 1000, "", 0},
		{"with reason", "\x03\xe8done", 1000, "done", 0},
		{"try again later", "\x03\xf5", 1013, "", 0},
		{"no status received", "\x03\xed", 0, "", 1002},
		{"application", "\x0f\xa0ü", 4000, "ü", 0},
		{"bad reason", "\x03\xe8\xc3", 0, "", 1007},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, reason, err := ParseClose([]byte(tt.payload))
			if code != tt.code || reason != tt.reason {
				t.Errorf("got %d %q, want %d %q", code, reason, tt.code, tt.reason)
			}
			if tt.err == 0 && err != nil || tt.err != 0 && err.(*CloseError).Code != tt.err {
				t.Errorf("error %v, want code %d", err, tt.err)
			}
		})
	}
}

func TestAppendClose(t *testing.T) {
	for _, tt := range []struct {
		name   string
		code   ws.StatusCode
		reason string
		want   string
	}{
		{"code", 1000, "", "\x88\x02\x03\xe8"},
		{"reason", 1001, "bye", "\x88\x05\x03\xe9bye"},
		{"zero", 0, "not sent", "\x88\x00"},
		{"1005 must not be sent (7.4.1)", 1005, "not sent", "\x88\x00"},
		{"1006 must not be sent (7.4.1)", 1006, "not sent", "\x88\x00"},
		{"1015 must not be sent (7.4.1)", 1015, "not sent", "\x88\x00"},
		{"123 bytes fit", 1000, strings.Repeat("r", 123), "\x88\x7d\x03\xe8" + strings.Repeat("r", 123)},
		{"124 bytes are cut", 1000, strings.Repeat("r", 124), "\x88\x7d\x03\xe8" + strings.Repeat("r", 123)},
		{"cut before a rune", 1000, strings.Repeat("r", 122) + "€", "\x88\x7c\x03\xe8" + strings.Repeat("r", 122)},
		{"rune that fits", 1000, strings.Repeat("r", 120) + "€s", "\x88\x7d\x03\xe8" + strings.Repeat("r", 120) + "€"},
		{"not UTF-8", 1000, "a\xff\xfeb", "\x88\x07\x03\xe8a\ufffdb"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := AppendClose([]byte("|"), tt.code, tt.reason)
			if string(got) != "|"+tt.want {
				t.Errorf("got %q, want %q", got[1:], tt.want)
			}
		})
	}
}

// RFC 6455, 5.5: "All control frames MUST have a payload length of 125 bytes or less".
func TestControlFrameTooLongPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	AppendFrame(nil, ws.OpPing, make([]byte, 126))
}

// FuzzClose checks ParseClose and the decoder against the RFC, and that ParseClose accepts every close frame
// that AppendClose writes.
func FuzzClose(f *testing.F) {
	f.Add([]byte(""))
	f.Add([]byte("\x03"))
	f.Add([]byte("\x03\xe8bye"))
	f.Add([]byte("\x03\xed"))
	f.Add([]byte("\x03\xe8\xe2\x82"))
	f.Fuzz(func(t *testing.T, p []byte) {
		code, reason, err := ParseClose(p)
		var want ws.StatusCode
		switch {
		case len(p) == 1:
			want = 1002
		case len(p) > 1 && !CloseCodeAllowed(ws.StatusCode(binary.BigEndian.Uint16(p))):
			want = 1002
		case len(p) > 2 && !utf8.Valid(p[2:]):
			want = 1007
		}
		if got, _ := err.(*CloseError); (want == 0) != (err == nil) || err != nil && got.Code != want {
			t.Fatalf("ParseClose(%q) = %d, %q, %v, want %d", p, code, reason, err, want)
		}
		if len(p) <= 125 {
			g := decode(t, new(Rules), raw(nil, fin|byte(ws.OpClose), string(p)))
			if g.code != want {
				t.Fatalf("decoder: %v, want %d", g, want)
			}
		}

		b := AppendClose(nil, code, string(p))
		if len(b) > 2+125 || len(b) != 2+int(b[1]) {
			t.Fatalf("AppendClose(%d, %q) = %q", code, p, b)
		}
		back, reason, err := ParseClose(b[2:])
		if err != nil {
			t.Fatalf("AppendClose(%d, %q) = %q: %v", code, p, b, err)
		}
		if CloseCodeAllowed(code) && (back != code || utf8.Valid(p) && !strings.HasPrefix(string(p), reason)) {
			t.Fatalf("AppendClose(%d, %q): parsed as %d %q", code, p, back, reason)
		}
	})
}
