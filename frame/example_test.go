package frame_test

import (
	"errors"
	"fmt"

	"github.com/gobwas/ws"

	"fanfare/frame"
)

// clientFrame returns a frame as a client sends it.
func clientFrame(op ws.OpCode, fin bool, payload string) []byte {
	return ws.MustCompileFrame(ws.MaskFrame(ws.NewFrame(op, fin, []byte(payload))))
}

func ExampleDecoder() {
	var stream []byte
	stream = append(stream, clientFrame(ws.OpText, false, "Hel")...)
	stream = append(stream, clientFrame(ws.OpPing, true, "?")...)
	stream = append(stream, clientFrame(ws.OpContinuation, true, "lo")...)
	stream = append(stream, clientFrame(ws.OpClose, true, "\x03\xe8bye")...)

	rules := new(frame.Rules) // the defaults
	var d frame.Decoder
	defer d.Release()
	for len(stream) > 0 {
		in := stream[:min(5, len(stream))] // one read
		stream = stream[len(in):]
		for {
			m, n, err := d.Next(rules, in)
			if err != nil {
				fmt.Println(err)
				return
			}
			in = in[n:]
			switch {
			case m.Op == ws.OpClose:
				code, reason, _ := frame.ParseClose(m.Payload) // no error: Next has checked it
				fmt.Println("close:", code, reason)
			case m.Op != 0:
				fmt.Printf("opcode %d: %s\n", m.Op, m.Payload)
			}
			if m.Op == 0 && len(in) == 0 {
				break
			}
		}
	}
	// Output:
	// opcode 9: ?
	// opcode 1: Hello
	// close: 1000 bye
}

// A fault of the client is a CloseError, whose code and reason go into the close frame.
func ExampleCloseError() {
	var d frame.Decoder
	_, _, err := d.Next(new(frame.Rules), []byte("\x81\x05Hello"))
	fmt.Println(err)
	var fault *frame.CloseError
	if errors.As(err, &fault) {
		fmt.Printf("%q\n", frame.AppendClose(nil, fault.Code, fault.Reason))
	}
	fmt.Println(frame.CloseError{Code: frame.StatusTryAgainLater})
	// Output:
	// close 1002: frame is not masked
	// "\x88\x15\x03\xeaframe is not masked"
	// close 1013 (try again later)
}

// One Prepared serves receivers with and without compression.
func ExamplePrepared() {
	rules := &frame.Rules{Deflate: frame.Deflate{MinSize: 1}}
	params, answer, err := rules.Negotiate([]byte("permessage-deflate; client_max_window_bits"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(answer)
	p := frame.Prepare(ws.OpText, []byte("fanfare fanfare fanfare fanfare fanfare"))
	fmt.Println("plain:", len(p.Plain()), "bytes")
	fmt.Println("smaller when compressed:", len(p.Deflated(rules, params)) < len(p.Plain()))
	// Output:
	// permessage-deflate; server_no_context_takeover; client_no_context_takeover
	// plain: 41 bytes
	// smaller when compressed: true
}

func ExampleAppendAcceptKey() {
	fmt.Printf("Sec-WebSocket-Accept: %s\n", frame.AppendAcceptKey(nil, []byte("dGhlIHNhbXBsZSBub25jZQ==")))
	// Output:
	// Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
}
