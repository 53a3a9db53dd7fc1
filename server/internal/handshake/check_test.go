package handshake

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// The key of the examples of RFC 6455, section 1.3, and what answers it.
const (
	key    = "dGhlIHNhbXBsZSBub25jZQ=="
	accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// parse makes a handshake with changes: "Name: value" replaces a field, "+Name: value"
// adds one, "-Name" removes it, and "METHOD target version" replaces the first line.
func parse(t testing.TB, changes ...string) *Request {
	t.Helper()
	first := "GET /ws HTTP/1.1"
	fields := []string{"Host: h", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: " + key, "Sec-WebSocket-Version: 13"}
	for _, change := range changes {
		if strings.Contains(change, " HTTP/") {
			first = change
			continue
		}
		name, _, _ := strings.Cut(strings.TrimLeft(change, "-+"), ":")
		if change[0] != '+' {
			kept := fields[:0]
			for _, f := range fields {
				if !strings.HasPrefix(f, name+":") {
					kept = append(kept, f)
				}
			}
			fields = kept
		}
		if change[0] != '-' {
			fields = append(fields, strings.TrimPrefix(change, "+"))
		}
	}
	r := new(Request)
	if err := r.Parse([]byte(first + "\r\n" + strings.Join(fields, "\r\n") + "\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestCheck has requests of clients and proxies, each with the answer that RFC 6455 or
// common practice requires. The table of all rules over sockets is TestHandshake of package server.
func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name    string
		changes []string
		status  int
		text    string
	}{
		{"least", nil, 0, ""},
		{"key of RFC 6455, 4.1, 7, with bits after its end", []string{"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC=="}, 0, ""},
		{"all bits after the end", []string{"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAP=="}, 0, ""},
		{"key with white space in it", []string{"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAA=\t="}, 400, "Sec-WebSocket-Key"},
		{"key of 15 bytes", []string{"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j"}, 400, "Sec-WebSocket-Key"},
		{"key of 17 bytes", []string{"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZTE="}, 400, "Sec-WebSocket-Key"},
		{"key without padding", []string{"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"}, 400, "Sec-WebSocket-Key"},
		{"key in the URL alphabet", []string{"Sec-WebSocket-Key: dGhlIHNhbXBs_SBub25jZQ=="}, 400, "Sec-WebSocket-Key"},
		{"two keys", []string{"+Sec-WebSocket-Key: " + key}, 400, "Sec-WebSocket-Key"},

		{"browser", []string{"Connection: keep-alive, Upgrade", "+Pragma: no-cache", "+Sec-Fetch-Mode: websocket", "+Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"}, 0, ""},
		{"Firefox of old", []string{"Connection: keep-alive, Upgrade", "Sec-WebSocket-Version: 13", "+Sec-WebSocket-Extensions: x-webkit-deflate-frame"}, 0, ""},
		{"React Native with a protocol", []string{"Connection: Upgrade", "+Origin: http://h", "+Sec-WebSocket-Protocol: chat"}, 0, ""},
		{"Arduino", []string{"+Sec-WebSocket-Protocol: arduino", "+Origin: file://", "+User-Agent: arduino-WebSocket-Client"}, 0, ""},
		{"Content-Length of a careful client", []string{"+Content-Length: 0"}, 0, ""},
		{"HAProxy", []string{"Connection: upgrade", "+X-Forwarded-For: 192.0.2.1"}, 0, ""},
		{"nginx without proxy_http_version", []string{"GET /ws HTTP/1.0"}, 505, "proxy_http_version"},
		{"nginx without Connection", []string{"Connection: close"}, 400, "a proxy may have removed it"},
		{"a list of protocols that ends with a comma", []string{"+Sec-WebSocket-Protocol: chat,"}, 0, ""},
		{"an empty protocol", []string{"+Sec-WebSocket-Protocol:"}, 0, ""},
		{"a list of nothing", []string{"+Sec-WebSocket-Protocol: ,, "}, 0, ""},
		{"an empty protocol and another", []string{"+Sec-WebSocket-Protocol:", "+Sec-WebSocket-Protocol: chat"}, 0, ""},
		{"a protocol that is not a token", []string{"+Sec-WebSocket-Protocol: chat, a b"}, 400, "Sec-WebSocket-Protocol"},
		{"two versions in a list", []string{"Sec-WebSocket-Version: 13, 8"}, 426, "13"},
		{"two versions in a list, the other first", []string{"Sec-WebSocket-Version: 8, 13"}, 426, "13"},
		{"draft 8", []string{"Sec-WebSocket-Version: 8"}, 426, "13"},
		{"POST", []string{"POST /ws HTTP/1.1"}, 405, "GET"},
		{"ordinary HTTP", []string{"-Upgrade"}, 426, "Upgrade"},
		{"no host", []string{"-Host"}, 400, "Host"},
		{"two hosts", []string{"+Host: h"}, 400, "Host"},
		{"body", []string{"+Content-Length: 5"}, 400, "body"},
		{"chunked", []string{"+Transfer-Encoding: chunked"}, 400, "body"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := Check(parse(t, tt.changes...))
			if tt.status == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var rejection *Rejection
			if !errors.As(err, &rejection) || rejection.Status != tt.status || !strings.Contains(rejection.Text, tt.text) {
				t.Errorf("%v, want %d with %q", err, tt.status, tt.text)
			}
		})
	}
}

func TestCheckHost(t *testing.T) {
	for host, good := range map[string]bool{"h": true, "h:80": true, "[::1]:80": true, "": false, "a b": false, "u@h": false} {
		if err := CheckHost(parse(t, "Host: "+host)); (err == nil) != good {
			t.Errorf("%q: %v", host, err)
		}
	}
}

func TestChooseProtocol(t *testing.T) {
	for _, tt := range []struct {
		offered []string
		spoken  []string
		want    string
	}{
		{[]string{"a"}, []string{"a"}, "a"},
		{[]string{"b, a"}, []string{"a", "b"}, "b"},
		{[]string{"x", "b", "a"}, []string{"a", "b"}, "b"},
		{[]string{"A"}, []string{"a"}, ""},
		{[]string{"ab"}, []string{"a"}, ""},
		{[]string{"a"}, nil, ""},
		{nil, []string{"a"}, ""},
	} {
		var r Request
		for _, o := range tt.offered {
			r.Add("Sec-WebSocket-Protocol", o)
		}
		if got := ChooseProtocol(&r, tt.spoken); got != tt.want {
			t.Errorf("%q of %q: %q, want %q", tt.offered, tt.spoken, got, tt.want)
		}
	}
}

func TestAppendResponse(t *testing.T) {
	const begin = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + "\r\n"
	r := parse(t)
	for _, tt := range []struct{ protocol, extension, want string }{
		{"", "", begin + "\r\n"},
		{"chat", "", begin + "Sec-WebSocket-Protocol: chat\r\n\r\n"},
		{"chat", "permessage-deflate", begin + "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"},
	} {
		if got := AppendResponse([]byte("x"), r, tt.protocol, tt.extension); string(got) != "x"+tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// A handshake costs no allocation here.
func TestHandshakeAllocatesNothing(t *testing.T) {
	head := []byte("GET /ws?user=a HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Key: " + key +
		"\r\nSec-WebSocket-Version: 13\r\nOrigin: http://h\r\nUser-Agent: " + strings.Repeat("x", 100) + "\r\n\r\n")
	var r Request
	var out []byte
	origins := Origins{"https://a.example"}
	allocs := testing.AllocsPerRun(100, func() {
		var h Head
		head, rest, err := h.Take(head, len(head))
		if err != nil || len(rest) > 0 {
			t.Fatal(err)
		}
		err = errors.Join(r.Parse(head), Check(&r), origins.Check(&r, nil, r.Authority()))
		if err != nil {
			t.Fatal(err)
		}
		out = AppendResponse(out[:0], &r, "", "")
	})
	if allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
	if !bytes.HasPrefix(out, []byte("HTTP/1.1 101 ")) {
		t.Errorf("%q", out)
	}
}
