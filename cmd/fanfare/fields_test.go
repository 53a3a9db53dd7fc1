package main

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestRejectionsNameFlags: the answer and the log name the flag that an operator has to
// change.
func TestRejectionsNameFlags(t *testing.T) {
	p := startServer(t, nil, "--log-level=debug")
	const rest = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
	for _, tt := range []struct{ name, request, want string }{
		{"origin", "GET /ws HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n" + rest, "the allowed origins (--allow-origin) do not contain it"},
		{"host", "GET /ws HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n" + rest, "unless a proxy is trusted (--trusted-proxy)"},
		{"TLS", "\x16\x03\x01\x00\x05hello", "configure TLS (--tls-cert)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := net.Dial("tcp", p.public)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(bound))
			if _, err := io.WriteString(c, tt.request); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(c)
			if err != nil || !strings.Contains(string(answer), tt.want) {
				t.Errorf("%v: answer %q, want %q", err, answer, tt.want)
			}
			if text, _ := p.waitLog("handshake rejected")["text"].(string); !strings.Contains(text, tt.want) {
				t.Errorf("logged %q, want %q", text, tt.want)
			}
		})
	}
}
