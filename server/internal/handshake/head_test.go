package handshake

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// take feeds pieces to a Head, as a connection would.
func take(most int, pieces ...[]byte) (head, rest string, status int) {
	var h Head
	for i, p := range pieces {
		head, rest, err := h.Take(bytes.Clone(p), most)
		var rejection *Rejection
		if errors.As(err, &rejection) {
			return "", "", rejection.Status
		}
		if head != nil {
			return string(head), string(rest) + string(bytes.Join(pieces[i+1:], nil)), 0
		}
	}
	return "", "", -1 // more is to come
}

var heads = []string{
	"GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\n\r\nrest", "\r\nGET / HTTP/1.1\r\n\r\n", "\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\n",
	"\x16\x03\x01", "", "GET / HTTP/1.1\n\n", "GET / HTTP/1.1\r\r\n\r\r\n", "x\r\n\r\n\r\n\r\n", "x\r\ny\n\r\n", "x\ry\r\r", "x\r\n\ry", "\r\r", "x\r\n\n\n", "\r\n\n", strings.Repeat("x", 40), strings.Repeat("x", 41), "x\r\n\r\n" + strings.Repeat("x", 100),
}

func TestHead(t *testing.T) {
	for _, tt := range []struct {
		in, head, rest string
		status         int
	}{
		{"GET / HTTP/1.1\r\nA: b\r\n\r\n", "GET / HTTP/1.1\r\nA: b\r\n\r\n", "", 0},
		{"GET / HTTP/1.1\r\n\r\nframes", "GET / HTTP/1.1\r\n\r\n", "frames", 0},
		{"\r\nGET / HTTP/1.1\r\n\r\n", "\r\nGET / HTTP/1.1\r\n\r\n", "", 0},
		{"GET / HTTP/1.1\r\nA: b\r\n", "", "", -1},
		{"GET / HTTP/1.1\n", "", "", 400}, // at once
		{"GET / HTTP/1.1\r\nA: b\n\n", "", "", 400},
		{"GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n", "", "", 400},
		{"GET / HTTP/1.1\r\nA: b\r\n\n", "", "", 400},
		{"GET / HTTP/1.1\r\n\n\r\n", "", "", 400},
		{"GET / HTTP/1.1\rHost: h\r\r", "", "", 400},
		{"GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n", "", "", 400},
		{"GET / HTTP/1.1\r\nA: b\r\r\n", "", "", 400},
		{"GET / HTTP/1.1\r", "", "", -1},
		{"GET / HTTP/1.1\r\n\r\n\r\r", "GET / HTTP/1.1\r\n\r\n", "\r\r", 0},
		{"GET / HTTP/1.1\r\n\r\n\n\n", "GET / HTTP/1.1\r\n\r\n", "\n\n", 0}, // frames may have any byte
		{"\x16\x03\x01\x02", "", "", 400},                                   // TLS
		{"\x81\x85", "", "", 400},                                           // frames
		{strings.Repeat("x", 40), "", "", -1},
		{strings.Repeat("x", 41), "", "", 431},
		{strings.Repeat("x", 36) + "\r\n\r\n", strings.Repeat("x", 36) + "\r\n\r\n", "", 0},
		{strings.Repeat("x", 37) + "\r\n\r\n", "", "", 431},
		{"x\r\n\r\n" + strings.Repeat("y", 100), "x\r\n\r\n", strings.Repeat("y", 100), 0},
	} {
		head, rest, status := take(40, []byte(tt.in))
		if head != tt.head || rest != tt.rest || status != tt.status {
			t.Errorf("%q: %q %q %d, want %q %q %d", tt.in, head, rest, status, tt.head, tt.rest, tt.status)
		}
	}
}

// Every cut in two, and every byte alone, gives what the whole gives.
func TestHeadCutAnywhere(t *testing.T) {
	for _, in := range heads {
		head, rest, status := take(40, []byte(in))
		check := func(pieces ...[]byte) {
			t.Helper()
			if h, r, s := take(40, pieces...); h != head || r != rest || s != status {
				t.Errorf("%q: %q %q %d, uncut: %q %q %d", pieces, h, r, s, head, rest, status)
			}
		}
		for i := range in {
			check([]byte(in[:i]), []byte(in[i:]))
		}
		check(bytes.SplitAfter([]byte(in), nil)...)
	}
}

func TestHeadHeld(t *testing.T) {
	var h Head
	whole := []byte("GET / HTTP/1.1\r\n\r\n")
	if head, _, _ := h.Take(whole, 100); &head[0] != &whole[0] || h.Held() != 0 {
		t.Error("a request that came in one read was copied")
	}
	h.Take(whole[:10], 100)
	if h.Held() < 10 {
		t.Errorf("%d bytes are held, want at least 10", h.Held())
	}
}

// FuzzHead: two pieces give the same request, and the same rest, as one.
func FuzzHead(f *testing.F) {
	for _, s := range heads {
		f.Add([]byte(s), uint16(5))
	}
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		const most = 1024
		at := min(int(cut), len(b))
		head, rest, status := take(most, b)
		head2, rest2, status2 := take(most, b[:at], b[at:])
		if head != head2 || rest != rest2 || status != status2 {
			t.Fatalf("cut at %d: %q %q %d, uncut: %q %q %d", at, head2, rest2, status2, head, rest, status)
		}
		if status == 0 && head+rest != string(b) {
			t.Fatalf("%q became %q and %q", b, head, rest)
		}
	})
}
