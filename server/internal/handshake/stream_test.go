package handshake

import (
	"bufio"
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

func parsed(t *testing.T, head string) *Request {
	t.Helper()
	r := new(Request)
	if err := r.Parse([]byte(head)); err != nil {
		t.Fatal(err)
	}
	return r
}

func statusOf(err error) int {
	var r *Rejection
	if errors.As(err, &r) {
		return r.Status
	}
	return 0
}

func TestCheckStream(t *testing.T) {
	const host = "\r\nHost: a\r\n"
	for _, test := range []struct {
		head   string
		status int
	}{
		{"GET / HTTP/1.1" + host + "\r\n", 0},
		{"GET / HTTP/1.0\r\n\r\n", 0},
		{"GET / HTTP/1.0" + host + "\r\n", 0},
		{"GET / HTTP/1.1\r\n\r\n", 400},
		{"GET / HTTP/1.1" + host + "Host: b\r\n\r\n", 400},
		{"GET / HTTP/1.1" + host + "Content-Length: 0\r\n\r\n", 0},
		{"GET / HTTP/1.1" + host + "Content-Length: 0\r\nContent-Length: 0\r\n\r\n", 400},
		{"GET / HTTP/1.1" + host + "Content-Length: 1\r\n\r\n", 400},
		{"GET / HTTP/1.1" + host + "Transfer-Encoding: chunked\r\n\r\n", 400},
		{"GET / HTTP/1.1" + host + "Upgrade: h2c\r\n\r\n", 0},
		{"GET / HTTP/1.1" + host + "Upgrade: websocket\r\n\r\n", 400},
		{"HEAD / HTTP/1.1" + host + "\r\n", 405},
	} {
		if got := statusOf(CheckStream(parsed(t, test.head))); got != test.status {
			t.Errorf("%q: %d, want %d", test.head, got, test.status)
		}
	}
	two := parsed(t, "GET / HTTP/1.1"+host+"\r\n")
	two.Version = []byte("HTTP/2.0")
	if got := statusOf(CheckStream(two)); got != 505 {
		t.Errorf("HTTP/2: %d", got)
	}
}

func TestCheckAccept(t *testing.T) {
	for accept, want := range map[string]bool{
		"": true, ",": true, "*/*": true, "text/event-stream": true, "TEXT/Event-Stream": true, "text/*": true, "text/event-stream;charset=utf-8": true,
		"text/html, */*;q=0.1": true, "application/json, text/event-stream": true, "nonsense": true,
		"application/json": false, "text/html": false, "text/event-stream;q=0": false, "text/event-stream ; Q=0.000": false, "text/html;q=1, text/*;q=0": false,
		"text/event-stream;q=x": true, "text/event-stream;q=0.001": true,
	} {
		r := parsed(t, "GET / HTTP/1.1\r\nHost: a\r\nAccept: "+accept+"\r\n\r\n")
		if err := CheckAccept(r, "text/event-stream"); (err == nil) != want {
			t.Errorf("%q: %v", accept, err)
		}
	}
}

func TestAppendStream(t *testing.T) {
	head := AppendStream(nil, "text/x", http.Header{"Vary": {"Origin"}, "X": {"a\r\nSet-Cookie: b"}}, time.Unix(0, 0))
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(append(head, "body"...))), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if !resp.Close || resp.ContentLength != -1 || resp.Header.Get("Content-Type") != "text/x" || resp.Header.Get("Vary") != "Origin" ||
		resp.Header.Get("Set-Cookie") != "" || resp.Header.Get("Date") != "Thu, 01 Jan 1970 00:00:00 GMT" {
		t.Errorf("%+v", resp)
	}
}

// RFC 9110, 8.6: an answer with 204 has no Content-Length, and no body.
func TestNoContent(t *testing.T) {
	b := string((&Rejection{Status: http.StatusNoContent, Text: "text", Header: http.Header{"Vary": {"Origin"}}}).AppendResponse(nil, time.Unix(0, 0)))
	if !strings.HasPrefix(b, "HTTP/1.1 204 No Content\r\n") || strings.Contains(b, "Content-") || !strings.HasSuffix(b, "Vary: Origin\r\n\r\n") {
		t.Errorf("%q", b)
	}
}
