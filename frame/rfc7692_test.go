package frame

import (
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

var (
	noContext   = Params{ServerBits: 15}
	withContext = Params{ServerBits: 15, ContextBits: 15}
)

// The examples of RFC 7692, 7.2.3.
const (
	helloFixed  = "\xf2\x48\xcd\xc9\xc9\x07\x00"
	helloAgain  = "\xf2\x00\x11\x00\x00"
	helloStored = "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"
	helloFinal  = "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"
	helloBlocks = "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"
)

func deflated(op ws.OpCode, p string) []byte { return f(fin|rsv1, op, p) }

// rfc7692 has a test for each rule and example of RFC 7692 about frames and payloads. Each runs with the input
// in one read, cut anywhere, and byte by byte.
var rfc7692 = []struct {
	name   string // section first
	params Params
	in     []byte
	msgs   []string
	code   ws.StatusCode
}{
	// 6.1, 6.2: RSV1 is "Per-Message Compressed", on the first frame only.
	{name: "6 not negotiated", in: deflated(ws.OpText, helloFixed), code: 1002},
	{name: "6 uncompressed message", params: noContext, in: text("Hello"), msgs: []string{"text:Hello"}},
	{name: "6 compressed and uncompressed messages", params: noContext, in: join(deflated(ws.OpText, helloFixed), text("a"), deflated(ws.OpBinary, helloFixed)), msgs: []string{"text:Hello", "text:a", "binary:Hello"}},
	{name: "6.1 RSV1 on a continuation", params: noContext, in: join(f(rsv1, ws.OpText, helloFixed[:3]), f(fin|rsv1, 0, helloFixed[3:])), code: 1002},
	{name: "6.1 RSV1 on a continuation of an uncompressed message", params: noContext, in: join(f(0, ws.OpText, "a"), f(fin|rsv1, 0, helloFixed)), code: 1002},
	{name: "6.1 RSV1 on ping", params: noContext, in: f(fin|rsv1, ws.OpPing, ""), code: 1002},
	{name: "6.1 RSV1 on pong", params: noContext, in: f(fin|rsv1, ws.OpPong, ""), code: 1002},
	{name: "6.1 RSV1 on close", params: noContext, in: f(fin|rsv1, ws.OpClose, ""), code: 1002},
	{name: "6.1 RSV2", params: noContext, in: f(fin|0x20, ws.OpText, "a"), code: 1002},
	{name: "6.1 RSV1 and RSV3", params: noContext, in: f(fin|rsv1|0x10, ws.OpText, helloFixed), code: 1002},

	// 7.2.3: the examples.
	{name: "7.2.3.1 one block", params: noContext, in: deflated(ws.OpText, helloFixed), msgs: []string{"text:Hello"}},
	{name: "7.2.3.1 two fragments", params: noContext, in: join(f(rsv1, ws.OpText, helloFixed[:3]), f(fin, 0, helloFixed[3:])), msgs: []string{"text:Hello"}},
	{name: "7.2.3.1 two fragments and a ping", params: noContext, in: join(f(rsv1, ws.OpText, helloFixed[:3]), ping("p"), f(fin, 0, helloFixed[3:])), msgs: []string{"ping:p", "text:Hello"}},
	{name: "7.2.3.1 empty fragments", params: noContext, in: join(f(rsv1, ws.OpText, ""), f(0, 0, helloFixed), f(fin, 0, "")), msgs: []string{"text:Hello"}},
	{name: "7.2.3.2 context taken over", params: withContext, in: join(deflated(ws.OpText, helloFixed), deflated(ws.OpText, helloAgain)), msgs: []string{"text:Hello", "text:Hello"}},
	{name: "7.2.3.2 context over an uncompressed message", params: withContext, in: join(deflated(ws.OpText, helloFixed), text("other"), ping(""), deflated(ws.OpText, helloAgain)), msgs: []string{"text:Hello", "text:other", "ping:", "text:Hello"}},
	{name: "7.2.3.2 no context", params: noContext, in: join(deflated(ws.OpText, helloFixed), deflated(ws.OpText, helloFixed)), msgs: []string{"text:Hello", "text:Hello"}},
	{name: "7.1.1.2 context taken over despite the answer", params: noContext, in: join(deflated(ws.OpText, helloFixed), deflated(ws.OpText, helloAgain)), msgs: []string{"text:Hello"}, code: 1007},
	{name: "7.2.3.3 stored block", params: noContext, in: deflated(ws.OpText, helloStored), msgs: []string{"text:Hello"}},
	{name: "7.2.3.4 final block", params: noContext, in: deflated(ws.OpText, helloFinal), msgs: []string{"text:Hello"}},
	{name: "7.2.3.4 final block without the empty one", params: noContext, in: deflated(ws.OpText, helloFinal[:7]), msgs: []string{"text:Hello"}},
	{name: "7.2.3.4 data after a final block", params: noContext, in: deflated(ws.OpText, helloFinal[:7]+helloFixed), msgs: []string{"text:HelloHello"}},
	{name: "7.2.3.4 a final block ends the context", params: withContext, in: join(deflated(ws.OpText, helloFinal), deflated(ws.OpText, helloAgain)), msgs: []string{"text:Hello"}, code: 1007},
	{name: "7.2.3.4 nothing refers back over a final block", params: withContext, in: join(deflated(ws.OpText, helloFixed), deflated(ws.OpText, helloFinal[:7]+helloAgain)), msgs: []string{"text:Hello"}, code: 1007},
	{name: "7.2.3.4 context begins after a final block", params: withContext, in: join(deflated(ws.OpText, helloFinal[:7]+helloFixed), deflated(ws.OpText, helloAgain)), msgs: []string{"text:HelloHello", "text:Hello"}},
	{name: "7.2.3.5 two blocks", params: noContext, in: deflated(ws.OpText, helloBlocks), msgs: []string{"text:Hello"}},
	{name: "7.2.3.6 empty message", params: noContext, in: deflated(ws.OpText, "\x00"), msgs: []string{"text:"}},
	{name: "7.2.3.6 empty message in fragments", params: noContext, in: join(f(rsv1, ws.OpText, ""), f(fin, 0, "\x00")), msgs: []string{"text:"}},
	{name: "7.2.3.6 empty message without its byte", params: noContext, in: deflated(ws.OpBinary, ""), msgs: []string{"binary:"}},
	{name: "7.2.3.6 empty message, empty fragments", params: noContext, in: join(f(rsv1, ws.OpBinary, ""), f(fin, 0, "")), msgs: []string{"binary:"}},
	{name: "7.2.3.6 empty message keeps the context", params: withContext, in: join(deflated(ws.OpText, helloFixed), deflated(ws.OpText, "\x00"), deflated(ws.OpText, ""), deflated(ws.OpText, helloAgain)), msgs: []string{"text:Hello", "text:", "text:", "text:Hello"}},

	// 7.2.2: invalid compressed data. RFC 6455, 7.4.1: 1007 is for data "not
	// consistent with the type of the message".
	{name: "7.2.2 reserved block type", params: noContext, in: deflated(ws.OpBinary, "\x07"), code: 1007},
	{name: "7.2.2 cut in a block", params: noContext, in: deflated(ws.OpBinary, helloStored[:8]), code: 1007},
	{name: "7.2.2 stored length not confirmed", params: noContext, in: deflated(ws.OpBinary, "\x00\x05\x00\xfa\xfeHello\x00"), code: 1007},
	{name: "7.2.2 distance before the beginning", params: noContext, in: deflated(ws.OpBinary, helloAgain), code: 1007},
	{name: "7.2.2 garbage", params: noContext, in: deflated(ws.OpBinary, "\xff\xff\xff\xff"), code: 1007},

	// RFC 6455, 8.1 applies to the inflated text.
	{name: "8.1 inflated text is not UTF-8", params: noContext, in: deflated(ws.OpText, "\x00\x01\x00\xfe\xff\xff\x00"), code: 1007},
	{name: "8.1 inflated text ends in a rune", params: noContext, in: deflated(ws.OpText, "\x00\x01\x00\xfe\xff\xe2\x00"), code: 1007},
	{name: "8.1 inflated binary is arbitrary", params: noContext, in: deflated(ws.OpBinary, "\x00\x01\x00\xfe\xff\xff\x00"), msgs: []string{"binary:\xff"}},
	{name: "8.1 compressed form is not text", params: noContext, in: f(rsv1, ws.OpText, helloFixed[:2])},
	{name: "8.1 inflated text is not UTF-8, and the message has not ended", params: noContext, in: f(rsv1, ws.OpText, "\x00\x02\x00\xfd\xffa\xff"), code: 1007},
	{name: "8.1 inflated text is not UTF-8, and the block has not ended", params: noContext, in: f(rsv1, ws.OpText, "\x00\x05\x00\xfa\xffa\xff"), code: 1007},
	{name: "8.1 inflated rune over fragments", params: noContext, in: join(f(rsv1, ws.OpText, "\x00\x01\x00\xfe\xff\xe2"), f(0, 0, "\x00\x01\x00\xfe\xff\x82"), ping("?"), f(fin, 0, "\x00\x01\x00\xfe\xff\xac\x00")), msgs: []string{"ping:?", "text:€"}},
	{name: "8.1 inflated rune that no byte completes", params: noContext, in: join(f(rsv1, ws.OpText, "\x00\x01\x00\xfe\xff\xf4"), f(0, 0, "\x00\x01\x00\xfe\xff\x90")), code: 1007},
}

func TestRFC7692(t *testing.T) {
	for _, tt := range rfc7692 {
		t.Run(tt.name, func(t *testing.T) {
			start := func() (d Decoder) { d.Start(tt.params); return d }
			g := decodeFrom(t, start(), new(Rules), tt.in)
			if g.code != tt.code || !slices.Equal(g.msgs, tt.msgs) {
				t.Errorf("got %v, want %q, close %d", g, tt.msgs, tt.code)
			}
			checkCuts(t, new(Rules), tt.params, tt.in)
		})
	}
}

// TestRFC7692Negotiation tests the rules of sections 5, 7.1, 7.1.1 and 7.1.2.
func TestRFC7692Negotiation(t *testing.T) {
	const (
		plain   = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
		keeping = "permessage-deflate; server_no_context_takeover"
	)
	for _, tt := range []struct {
		name   string
		bits   int // Rules.Deflate.ContextBits
		offer  string
		params Params
		answer string
	}{
		{"no header", 0, "-", Params{}, ""},
		{"5 simplest offer", 0, "permessage-deflate", noContext, plain},
		{"5 other extensions are ignored", 0, "x-webkit-deflate-frame, foo; bar=1, permessage-deflate", noContext, plain},
		{"5 only others", 0, "x-webkit-deflate-frame", Params{}, ""},
		{"5 name is exact", 0, "permessage-deflate2", Params{}, ""},
		{"5 first of two", 0, "permessage-deflate; server_max_window_bits=10, permessage-deflate", Params{ServerBits: 10}, plain + "; server_max_window_bits=10"},
		{"5 first is invalid", 0, "permessage-deflate; foo, permessage-deflate", noContext, plain},
		{"5 over two headers", 0, "foo|permessage-deflate", noContext, plain},
		{"5 no element in one of two headers", 0, "|permessage-deflate", noContext, plain},
		{"5 no element in the second of two headers", 0, "permessage-deflate| ,\t", noContext, plain},
		{"5 the same in one header", 0, ", permessage-deflate", noContext, plain},
		{"5 first header is invalid", 0, "permessage-deflate; foo|permessage-deflate; client_max_window_bits", noContext, plain},
		{"5 white space", 0, " \tpermessage-deflate\t ; server_max_window_bits = 10 \t", Params{ServerBits: 10}, plain + "; server_max_window_bits=10"},
		{"5 empty elements", 0, ", ,permessage-deflate,,", noContext, plain},
		{"5 what Chrome offers", 0, "permessage-deflate; client_max_window_bits", noContext, plain},
		{"7.1 unknown parameter", 0, "permessage-deflate; window=10", Params{}, ""},
		{"7.1 case matters", 0, "permessage-deflate; Server_no_context_takeover", Params{}, ""},
		{"7.1 server_no_context_takeover twice", 0, "permessage-deflate; server_no_context_takeover; server_no_context_takeover", Params{}, ""},
		{"7.1 client_no_context_takeover twice", 0, "permessage-deflate; client_no_context_takeover; client_no_context_takeover", Params{}, ""},
		{"7.1 server_max_window_bits twice", 0, "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10", Params{}, ""},
		{"7.1 client_max_window_bits twice", 0, "permessage-deflate; client_max_window_bits; client_max_window_bits", Params{}, ""},
		{"7.1 client_max_window_bits with and without", 0, "permessage-deflate; client_max_window_bits; client_max_window_bits=10", Params{}, ""},

		{"7.1.1.1 server_no_context_takeover", 0, "permessage-deflate; server_no_context_takeover", noContext, plain},
		{"7.1.1.1 with a value", 0, "permessage-deflate; server_no_context_takeover=1", Params{}, ""},
		{"7.1.1.2 client_no_context_takeover", 0, "permessage-deflate; client_no_context_takeover", noContext, plain},
		{"7.1.1.2 with a value", 0, "permessage-deflate; client_no_context_takeover=true", Params{}, ""},
		{"7.1.1.2 client declines a context", 15, "permessage-deflate; client_no_context_takeover", noContext, plain},
		{"7.1.1.2 context kept", 15, "permessage-deflate", withContext, keeping},

		{"7.1.2.1 8", 0, "permessage-deflate; server_max_window_bits=8", Params{ServerBits: 8}, plain + "; server_max_window_bits=8"},
		{"7.1.2.1 15", 0, "permessage-deflate; server_max_window_bits=15", noContext, plain + "; server_max_window_bits=15"},
		{"7.1.2.1 quoted", 0, `permessage-deflate; server_max_window_bits="12"`, Params{ServerBits: 12}, plain + "; server_max_window_bits=12"},
		{"7.1.2.1 quoted and escaped", 0, `permessage-deflate; server_max_window_bits="1\2"`, Params{ServerBits: 12}, plain + "; server_max_window_bits=12"},
		{"7.1.2.1 7", 0, "permessage-deflate; server_max_window_bits=7", Params{}, ""},
		{"7.1.2.1 16", 0, "permessage-deflate; server_max_window_bits=16", Params{}, ""},
		{"7.1.2.1 leading zero", 0, "permessage-deflate; server_max_window_bits=09", Params{}, ""},
		{"7.1.2.1 no value", 0, "permessage-deflate; server_max_window_bits", Params{}, ""},
		{"7.1.2.1 not a number", 0, "permessage-deflate; server_max_window_bits=x", Params{}, ""},
		{"7.1.2.1 huge number", 0, "permessage-deflate; server_max_window_bits=4294967306", Params{}, ""},

		{"7.1.2.2 not needed without a context", 0, "permessage-deflate; client_max_window_bits=10", noContext, plain},
		{"7.1.2.2 limits the context", 12, "permessage-deflate; client_max_window_bits", Params{15, 12}, keeping + "; client_max_window_bits=12"},
		{"7.1.2.2 client's window is smaller", 12, "permessage-deflate; client_max_window_bits=10", Params{15, 10}, keeping + "; client_max_window_bits=10"},
		{"7.1.2.2 client's window is larger", 12, "permessage-deflate; client_max_window_bits=15", Params{15, 12}, keeping + "; client_max_window_bits=12"},
		{"7.1.2.2 8 is 9 in zlib", 12, "permessage-deflate; client_max_window_bits=8", Params{15, 9}, keeping + "; client_max_window_bits=8"},
		{"7.1.2.2 must not be answered if not offered", 12, "permessage-deflate", noContext, plain},
		{"7.1.2.2 16", 0, "permessage-deflate; client_max_window_bits=16", Params{}, ""},
		{"7.1.2.2 leading zero", 0, "permessage-deflate; client_max_window_bits=08", Params{}, ""},
		{"all four", 15, "permessage-deflate; server_no_context_takeover; server_max_window_bits=11; client_max_window_bits=13", Params{11, 13}, keeping + "; client_max_window_bits=13; server_max_window_bits=11"},
		{"all four, no context", 15, "permessage-deflate; client_max_window_bits; client_no_context_takeover; server_max_window_bits=9; server_no_context_takeover", Params{ServerBits: 9}, plain + "; server_max_window_bits=9"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &Rules{Deflate: Deflate{ContextBits: tt.bits}}
			if err := r.Validate(); err != nil {
				t.Fatal(err)
			}
			var values [][]byte
			for v := range strings.SplitSeq(tt.offer, "|") {
				if v != "-" {
					values = append(values, []byte(v))
				}
			}
			p, answer, err := r.Negotiate(values...)
			if p != tt.params || answer != tt.answer || err != nil {
				t.Errorf("got %+v, %q, %v\nwant %+v, %q", p, answer, err, tt.params, tt.answer)
			}
		})
	}
}

// TestRFC6455MalformedExtensions: the handshake must fail (RFC 6455, 9.1).
func TestRFC6455MalformedExtensions(t *testing.T) {
	for _, v := range []string{
		"", " ", ",", ";", "=", "(x)",
		"permessage-deflate;", "permessage-deflate; =", "permessage-deflate; ;",
		"permessage-deflate; a=", `permessage-deflate; a="`, `permessage-deflate; a=""`,
		`permessage-deflate; a="b c"`, `permessage-deflate; a="b\`, `permessage-deflate; a="b"c`,
		"permessage-deflate; a b", "permessage-deflate a", "foo permessage-deflate",
		"permessage-deflate, foo;", "permessage-deflate\x00", "permessage-deflate\r\nX: y", "ä",
	} {
		if p, answer, err := new(Rules).Negotiate([]byte(v)); err != ErrExtensions || p != (Params{}) || answer != "" {
			t.Errorf("%q: %+v, %q, %v", v, p, answer, err)
		}
	}
	// 9.1: several header fields form one list, which is empty here.
	if p, answer, err := new(Rules).Negotiate([]byte(""), []byte(", ")); err != ErrExtensions || p != (Params{}) || answer != "" {
		t.Errorf("two without an element: %+v, %q, %v", p, answer, err)
	}
}

func TestNegotiateAllocatesNothing(t *testing.T) {
	v := []byte("permessage-deflate; client_max_window_bits")
	r := new(Rules)
	if n := testing.AllocsPerRun(100, func() { r.Negotiate(v) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
