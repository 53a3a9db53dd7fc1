package floor

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// client returns one masked frame.
func client(op byte, payload string) []byte {
	f := []byte{0x80 | op}
	switch n := len(payload); {
	case n < 126:
		f = append(f, 0x80|byte(n))
	case n < 1<<16:
		f = binary.BigEndian.AppendUint16(append(f, 0x80|126), uint16(n))
	default:
		f = binary.BigEndian.AppendUint64(append(f, 0x80|127), uint64(n))
	}
	f = append(f, 1, 2, 3, 4)
	for i := range payload {
		f = append(f, payload[i]^byte(i%4+1))
	}
	return f
}

func TestTurn(t *testing.T) {
	long, longer := strings.Repeat("x", 300), strings.Repeat("y", 70_000)
	join := func(b ...[]byte) []byte { return bytes.Join(b, nil) }
	tests := []struct {
		name   string
		in     []byte
		answer []byte
		rest   int // bytes left over
		bye    bool
	}{
		{"nothing", nil, nil, 0, false},
		{"one", client(1, "hello"), frame([]byte("hello")), 0, false},
		{"long", client(1, long), frame([]byte(long)), 0, false},
		{"longer", client(1, longer), frame([]byte(longer)), 0, false},
		{"three", join(client(1, "a"), client(1, long), client(1, "c")), join(frame([]byte("a")), frame([]byte(long)), frame([]byte("c"))), 0, false},
		{"one and a part", join(client(1, "hello"), client(1, "again")[:8]), frame([]byte("hello")), 8, false},
		{"a part", client(1, "hello")[:5], nil, 5, false},
		{"a part of a long length", client(1, longer)[:9], nil, 9, false},
		{"a pong between", join(client(1, "a"), client(10, ""), client(1, "b")), join(frame([]byte("a")), frame([]byte("b"))), 0, false},
		{"a close", join(client(1, "a"), client(8, "")), frame([]byte("a")), 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			answer, used, bye := turn(bytes.Clone(tt.in), true)
			if !bytes.Equal(answer, tt.answer) || len(tt.in)-used != tt.rest || bye != tt.bye {
				t.Errorf("%d bytes of answer, %d left, bye %t; want %d, %d, %t", len(answer), len(tt.in)-used, bye, len(tt.answer), tt.rest, tt.bye)
			}
			if answer, used, _ := turn(bytes.Clone(tt.in), false); len(answer) != 0 || len(tt.in)-used != tt.rest {
				t.Errorf("without echo: %d bytes of answer, %d left", len(answer), len(tt.in)-used)
			}
		})
	}
}

func TestGreet(t *testing.T) {
	// The key and its answer of RFC 6455 section 1.3.
	request := "GET /echo HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	answer, echo, n := greet([]byte(request + "more"))
	if n != len(request) || !echo || !strings.Contains(string(answer), "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n") {
		t.Errorf("%q, echo %t, %d bytes", answer, echo, n)
	}
	if _, _, n := greet([]byte(request[:40])); n != 0 {
		t.Errorf("half a request is answered after %d bytes", n)
	}
	if _, echo, _ := greet([]byte(strings.Replace(request, "/echo", "/ws", 1))); echo {
		t.Error("/ws echoes")
	}
}
