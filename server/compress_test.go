package server

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
)

// readFrame reads a frame as gobwas does, whether it is compressed or not.
func readFrame(t testing.TB, r io.Reader) (f ws.Frame) {
	t.Helper()
	var err error
	if f.Header, err = ws.ReadHeader(r); err == nil {
		f.Payload = make([]byte, f.Header.Length)
		_, err = io.ReadFull(r, f.Payload)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// inflated reads a message, and reports whether it came compressed.
func (c *client) inflated() (payload []byte, compressed bool) {
	c.t.Helper()
	f := readFrame(c.t, c.br)
	compressed, err := wsflate.IsCompressed(f.Header)
	if err != nil {
		c.t.Fatal(err)
	}
	if compressed {
		if f, err = wsflate.DecompressFrame(f); err != nil {
			c.t.Fatal(err)
		}
	}
	return f.Payload, compressed
}

// sendDeflated sends a compressed message.
func (c *client) sendDeflated(op Op, payload []byte) {
	c.t.Helper()
	f, err := wsflate.CompressFrame(ws.NewFrame(op, true, payload))
	if err != nil {
		c.t.Fatal(err)
	}
	if err := ws.WriteFrame(c.Conn, ws.MaskFrameInPlace(f)); err != nil {
		c.t.Fatal(err)
	}
}

func compressing(ep Endpoint) Endpoint {
	ep.Compress = true
	return ep
}

func TestCompression(t *testing.T) {
	for _, kind := range transports {
		t.Run(kind.String(), func(t *testing.T) {
			srv := start(t, Config{Transport: kind, Endpoints: []Endpoint{compressing(PushEndpoint("/ws")), compressing(EchoEndpoint("/echo")), PushEndpoint("/plain")}})
			offer := "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
			long := []byte(strings.Repeat("all work and no play makes jack a dull boy ", 100))
			small := []byte("small")

			echo := dial(t, srv, "/echo", offer)
			for _, msg := range [][]byte{long, small, {}} {
				echo.sendDeflated(Text, msg)
				if got, _ := echo.inflated(); !bytes.Equal(got, msg) {
					t.Errorf("echo of %d bytes differs: %d", len(msg), len(got))
				}
			}

			a := dial(t, srv, "/ws?user=a", offer) // compresses
			b := dial(t, srv, "/ws?user=b")        // does not offer
			c := dial(t, srv, "/plain?user=c", offer)
			for _, msg := range [][]byte{long, small} {
				if n := broadcast(srv, Text, msg); n != 3 {
					t.Fatalf("Broadcast reached %d", n)
				}
				for name, want := range map[*client]bool{a: len(msg) == len(long), b: false, c: false} {
					got, compressed := name.inflated()
					if !bytes.Equal(got, msg) || compressed != want {
						t.Errorf("got %d bytes, compressed %v, want %d, %v", len(got), compressed, len(msg), want)
					}
				}
			}
		})
	}
}

// TestCompressionAnswer: RFC 7692, section 7.1.
func TestCompressionAnswer(t *testing.T) {
	srv := start(t, Config{Endpoints: []Endpoint{compressing(EchoEndpoint("/on")), EchoEndpoint("/off")}})
	for _, tt := range []struct {
		name, path, offer string
		status            int
		want              string
	}{
		{"accepted, without contexts", "/on", "permessage-deflate", 101, "permessage-deflate; server_no_context_takeover; client_no_context_takeover"},
		{"not on this endpoint", "/off", "permessage-deflate", 101, ""},
		{"unknown extension", "/on", "x-webkit-deflate-frame", 101, ""},
		{"malformed", "/on", "permessage-deflate; =", 400, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := connect(t, srv)
			c.say(handshakeFor(tt.path, "Sec-WebSocket-Extensions: "+tt.offer))
			resp := c.answer()
			if got := resp.Header.Get("Sec-WebSocket-Extensions"); resp.StatusCode != tt.status || got != tt.want {
				t.Errorf("status %d, extensions %q, want %d, %q", resp.StatusCode, got, tt.status, tt.want)
			}
		})
	}
}

// TestBombEndsWith1009: what would inflate beyond the limit ends the session
// before its memory is spent.
func TestBombEndsWith1009(t *testing.T) {
	srv := start(t, Config{Endpoints: []Endpoint{compressing(EchoEndpoint("/echo"))}})
	c := dial(t, srv, "/echo", "Sec-WebSocket-Extensions: permessage-deflate")
	c.sendDeflated(Text, make([]byte, 4<<20))
	payload, _ := c.inflated()
	if code := ws.StatusCode(payload[0])<<8 | ws.StatusCode(payload[1]); code != 1009 {
		t.Errorf("closed with %d %q, want 1009", code, payload[2:])
	}
}
