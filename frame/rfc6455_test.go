package frame

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// rfc6455 has a test for each MUST and MUST NOT of RFC 6455 about how a server decodes a client's frames. Each
// runs with the input in one read, cut anywhere, and byte by byte.
var rfc6455 = []struct {
	name string // section first
	in   []byte
	msgs []string
	code ws.StatusCode
}{
	// 5.1: "The server MUST close the connection upon receiving a frame that
	// is not masked."
	{name: "5.1 unmasked text", in: []byte("\x81\x05Hello"), code: 1002},
	{name: "5.1 unmasked empty ping", in: []byte("\x89\x00"), code: 1002},
	{name: "5.1 unmasked close", in: []byte("\x88\x02\x03\xe8"), code: 1002},
	{name: "5.1 unmasked after masked", in: join(text("a"), []byte("\x81\x01b")), msgs: []string{"text:a"}, code: 1002},
	{name: "5.1 unmasked continuation", in: join(f(0, ws.OpText, "a"), []byte("\x80\x01b")), code: 1002},

	// 5.2: RSV1 to RSV3 "MUST be 0 unless an extension is negotiated that
	// defines meanings for non-zero values".
	{name: "5.2 RSV1", in: f(fin|0x40, ws.OpText, "a"), code: 1002},
	{name: "5.2 RSV2", in: f(fin|0x20, ws.OpText, "a"), code: 1002},
	{name: "5.2 RSV3", in: f(fin|0x10, ws.OpText, "a"), code: 1002},
	{name: "5.2 all RSV", in: f(fin|0x70, ws.OpBinary, "a"), code: 1002},
	{name: "5.2 RSV1 on ping", in: f(fin|0x40, ws.OpPing, ""), code: 1002},
	{name: "5.2 RSV1 on close", in: f(fin|0x40, ws.OpClose, ""), code: 1002},
	{name: "5.2 RSV1 on continuation", in: join(f(0, ws.OpText, "a"), f(fin|0x40, 0, "b")), code: 1002},

	// 5.2: "If an unknown opcode is received, the receiving endpoint MUST
	// _Fail the WebSocket Connection_."
	{name: "5.2 opcode 3", in: f(fin, 3, ""), code: 1002},
	{name: "5.2 opcode 4", in: f(fin, 4, "a"), code: 1002},
	{name: "5.2 opcode 5", in: f(fin, 5, ""), code: 1002},
	{name: "5.2 opcode 6", in: f(fin, 6, ""), code: 1002},
	{name: "5.2 opcode 7", in: f(fin, 7, ""), code: 1002},
	{name: "5.2 opcode 7 not final", in: f(0, 7, ""), code: 1002},
	{name: "5.2 opcode B", in: f(fin, 0xb, ""), code: 1002},
	{name: "5.2 opcode C", in: f(fin, 0xc, "a"), code: 1002},
	{name: "5.2 opcode D", in: f(fin, 0xd, ""), code: 1002},
	{name: "5.2 opcode E", in: f(fin, 0xe, ""), code: 1002},
	{name: "5.2 opcode F", in: f(fin, 0xf, ""), code: 1002},
	{name: "5.2 opcode F between fragments", in: join(f(0, ws.OpText, "a"), f(fin, 0xf, "")), code: 1002},

	// 5.2: "the minimal number of bytes MUST be used to encode the length".
	{name: "5.2 length 0 in 7 bits", in: text(""), msgs: []string{"text:"}},
	{name: "5.2 length 125 in 7 bits", in: text(strings.Repeat("x", 125)), msgs: []string{"text:" + strings.Repeat("x", 125)}},
	{name: "5.2 length 126 in 16 bits", in: text(strings.Repeat("x", 126)), msgs: []string{"text:" + strings.Repeat("x", 126)}},
	{name: "5.2 length 65535 in 16 bits", in: text(strings.Repeat("x", 65535)), msgs: []string{"text:" + strings.Repeat("x", 65535)}},
	{name: "5.2 length 65536 in 64 bits", in: text(strings.Repeat("x", 65536)), msgs: []string{"text:" + strings.Repeat("x", 65536)}},
	{name: "5.2 length 0 in 16 bits", in: []byte("\x82\xfe\x00\x00abcd"), code: 1002},
	{name: "5.2 length 125 in 16 bits", in: []byte("\x82\xfe\x00\x7dabcd"), code: 1002},
	{name: "5.2 length 5 in 64 bits", in: []byte("\x82\xff\x00\x00\x00\x00\x00\x00\x00\x05abcd"), code: 1002},
	{name: "5.2 length 0 in 64 bits", in: []byte("\x82\xff\x00\x00\x00\x00\x00\x00\x00\x00abcd"), code: 1002},
	{name: "5.2 length 126 in 64 bits", in: []byte("\x82\xff\x00\x00\x00\x00\x00\x00\x00\x7eabcd"), code: 1002},
	{name: "5.2 length 1 in 16 bits, continuation", in: join(f(0, ws.OpBinary, "a"), []byte("\x80\xfe\x00\x01abcd")), code: 1002},
	{name: "5.2 length 5 in 16 bits, ping", in: []byte("\x89\xfe\x00\x05abcd"), code: 1002},
	{name: "5.2 length 2 in 64 bits, close", in: []byte("\x88\xff\x00\x00\x00\x00\x00\x00\x00\x02abcd"), code: 1002},
	{name: "5.2 length 65535 in 64 bits", in: []byte("\x82\xff\x00\x00\x00\x00\x00\x00\xff\xffabcd"), code: 1002},
	// 5.2: "the most significant bit MUST be 0".
	{name: "5.2 length 2^63", in: []byte("\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00"), code: 1002},
	{name: "5.2 length 2^64-1", in: []byte("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff"), code: 1002},

	// 5.3: "Octet i of the transformed data is the XOR of octet i of the
	// original data with octet at index i modulo 4 of the masking key".
	{name: "5.3 example of 5.7", in: []byte("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), msgs: []string{"text:Hello"}},

	// 5.4: fragmentation.
	{name: "5.4 two fragments", in: join(f(0, ws.OpText, "Hel"), f(fin, 0, "lo")), msgs: []string{"text:Hello"}},
	{name: "5.4 empty fragments", in: join(f(0, ws.OpBinary, ""), f(0, 0, ""), f(0, 0, "a"), f(0, 0, ""), f(fin, 0, "")), msgs: []string{"binary:a"}},
	{name: "5.4 empty message in fragments", in: join(f(0, ws.OpText, ""), f(fin, 0, "")), msgs: []string{"text:"}},
	{name: "5.4 many fragments", in: join(f(0, ws.OpText, "x"), []byte(strings.Repeat(string(f(0, 0, "y")), 50)), f(fin, 0, "z")), msgs: []string{"text:x" + strings.Repeat("y", 50) + "z"}},
	{name: "5.4 fragmented messages after each other", in: join(f(0, ws.OpText, "a"), f(fin, 0, "b"), f(0, ws.OpBinary, "c"), f(fin, 0, "d"), text("e")), msgs: []string{"text:ab", "binary:cd", "text:e"}},
	{name: "5.4 continuation without a message", in: f(fin, 0, "a"), code: 1002},
	{name: "5.4 continuation without a message, not final", in: f(0, 0, "a"), code: 1002},
	{name: "5.4 continuation after a whole message", in: join(text("a"), f(fin, 0, "b")), msgs: []string{"text:a"}, code: 1002},
	{name: "5.4 continuation after the last fragment", in: join(f(0, ws.OpText, "a"), f(fin, 0, "b"), f(fin, 0, "c")), msgs: []string{"text:ab"}, code: 1002},
	// "The fragments of one message MUST NOT be interleaved between the
	// fragments of another message".
	{name: "5.4 text between fragments", in: join(f(0, ws.OpText, "a"), text("b")), code: 1002},
	{name: "5.4 binary fragment between fragments", in: join(f(0, ws.OpText, "a"), f(0, ws.OpBinary, "b")), code: 1002},
	// "Control frames MAY be injected in the middle of a fragmented message."
	{name: "5.4 ping between fragments", in: join(f(0, ws.OpText, "a"), ping("p"), f(fin, 0, "b")), msgs: []string{"ping:p", "text:ab"}},
	{name: "5.4 pings and pongs between fragments", in: join(f(0, ws.OpBinary, "a"), ping("1"), f(fin, ws.OpPong, "2"), f(0, 0, "b"), ping(""), f(fin, 0, "c")), msgs: []string{"ping:1", "pong:2", "ping:", "binary:abc"}},
	// "Control frames themselves MUST NOT be fragmented."
	{name: "5.4 fragmented ping", in: join(f(0, ws.OpPing, "a"), f(fin, 0, "b")), code: 1002},
	{name: "5.4 fragmented pong", in: f(0, ws.OpPong, ""), code: 1002},
	{name: "5.4 fragmented close", in: f(0, ws.OpClose, ""), code: 1002},

	// 5.5: "All control frames MUST have a payload length of 125 bytes or
	// less and MUST NOT be fragmented."
	{name: "5.5 ping of 125 bytes", in: ping(strings.Repeat("p", 125)), msgs: []string{"ping:" + strings.Repeat("p", 125)}},
	{name: "5.5 ping of 126 bytes", in: ping(strings.Repeat("p", 126)), code: 1002},
	{name: "5.5 pong of 126 bytes", in: f(fin, ws.OpPong, strings.Repeat("p", 126)), code: 1002},
	{name: "5.5 close of 126 bytes", in: closing(1000, strings.Repeat("p", 124)), code: 1002},
	{name: "5.5 ping of 2^16 bytes", in: ping(strings.Repeat("p", 65536))[:20], code: 1002},

	// 5.5.1: the close frame's body.
	{name: "5.5.1 close without a body", in: f(fin, ws.OpClose, ""), msgs: []string{"close:"}},
	{name: "5.5.1 close with a code", in: closing(1000, ""), msgs: []string{"close:\x03\xe8"}},
	{name: "5.5.1 close with a reason", in: closing(1001, "bye €"), msgs: []string{"close:\x03\xe9bye €"}},
	{name: "5.5.1 longest reason", in: closing(1000, strings.Repeat("r", 123)), msgs: []string{"close:\x03\xe8" + strings.Repeat("r", 123)}},
	{name: "5.5.1 half a code", in: f(fin, ws.OpClose, "\x03"), code: 1002},
	{name: "5.5.1 reason is not UTF-8", in: closing(1000, "\xff"), code: 1007},
	{name: "5.5.1 reason ends in a rune", in: closing(1000, "\xe2\x82"), code: 1007},
	// "The application MUST NOT send any more data frames after sending a
	// Close frame": bytes that follow it are ignored, even if they are invalid.
	{name: "5.5.1 data after close", in: join(closing(1000, ""), text("a"), ping("")), msgs: []string{"close:\x03\xe8"}},
	{name: "5.5.1 second close", in: join(closing(1000, ""), closing(1001, "")), msgs: []string{"close:\x03\xe8"}},
	{name: "5.5.1 garbage after close", in: join(closing(1000, ""), []byte("\xff\xff\xff")), msgs: []string{"close:\x03\xe8"}},
	{name: "5.5.1 close between fragments", in: join(f(0, ws.OpText, "a"), closing(1000, ""), f(fin, 0, "b")), msgs: []string{"close:\x03\xe8"}},

	// 5.5.2, 5.5.3: ping and pong carry application data.
	{name: "5.5.2 empty ping", in: ping(""), msgs: []string{"ping:"}},
	{name: "5.5.2 ping that is not text", in: ping("\x00\xff\xfe"), msgs: []string{"ping:\x00\xff\xfe"}},
	{name: "5.5.3 unsolicited pong", in: f(fin, ws.OpPong, "p"), msgs: []string{"pong:p"}},
	{name: "5.5.3 pings in a row", in: join(ping("1"), ping("2"), ping("3")), msgs: []string{"ping:1", "ping:2", "ping:3"}},

	// 5.6: text is UTF-8, binary is arbitrary.
	{name: "5.6 binary that is not text", in: binmsg("\x00\xff\xc0\x80"), msgs: []string{"binary:\x00\xff\xc0\x80"}},

	// 8.1: "When an endpoint is to interpret a byte stream as UTF-8 but finds
	// that the byte stream is not, in fact, a valid UTF-8 stream, that endpoint
	// MUST _Fail the WebSocket Connection_."
	{name: "8.1 every length of rune", in: text("a§€𝄞"), msgs: []string{"text:a§€𝄞"}},
	{name: "8.1 NUL", in: text("\x00"), msgs: []string{"text:\x00"}},
	{name: "8.1 noncharacters are valid", in: text("\ufffe\uffff\U0010ffff"), msgs: []string{"text:\ufffe\uffff\U0010ffff"}},
	{name: "8.1 byte order mark is data", in: text("\ufeffa"), msgs: []string{"text:\ufeffa"}},
	{name: "8.1 rune over two fragments", in: join(f(0, ws.OpText, "\xf0\x9d"), f(fin, 0, "\x84\x9e")), msgs: []string{"text:𝄞"}},
	{name: "8.1 rune over four fragments and a ping", in: join(f(0, ws.OpText, "\xf0"), f(0, 0, "\x9d"), ping(""), f(0, 0, "\x84"), f(fin, 0, "\x9e")), msgs: []string{"ping:", "text:𝄞"}},
	{name: "8.1 lone continuation byte", in: text("\x80"), code: 1007},
	{name: "8.1 FF", in: text("a\xff"), code: 1007},
	{name: "8.1 overlong slash", in: text("\xc0\xaf"), code: 1007},
	{name: "8.1 overlong in three bytes", in: text("\xe0\x80\xaf"), code: 1007},
	{name: "8.1 surrogate", in: text("\xed\xa0\x80"), code: 1007},
	{name: "8.1 above 10FFFF", in: text("\xf4\x90\x80\x80"), code: 1007},
	{name: "8.1 five bytes", in: text("\xf8\x88\x80\x80\x80"), code: 1007},
	{name: "8.1 ends in a rune", in: text("\xe2\x82"), code: 1007},
	{name: "8.1 ends in a rune, fragmented", in: join(f(0, ws.OpText, "a\xe2"), f(fin, 0, "\x82")), code: 1007},
	{name: "8.1 ends in a rune, last fragment empty", in: join(f(0, ws.OpText, "a\xe2\x82"), f(fin, 0, "")), code: 1007},
	{name: "8.1 next message does not complete it", in: join(text("\xe2\x82"), text("\xac")), code: 1007},
	// The decoder fails at the first invalid byte, before the fragment, the
	// frame or the message is complete.
	{name: "8.1 first invalid byte, message not ended", in: f(0, ws.OpText, "ok\xc0"), code: 1007},
	{name: "8.1 first invalid byte, frame not ended", in: text("ok\xc0" + strings.Repeat(".", 60000))[:8+3], code: 1007},
	{name: "8.1 second byte invalid, rune not ended", in: text("\xf4\x90\x80\x80....")[:6+2], code: 1007},
	{name: "8.1 invalid over fragments", in: join(f(0, ws.OpText, "\xf4"), f(0, 0, "\x90")), code: 1007},
	{name: "8.1 can still become valid", in: f(0, ws.OpText, "\xf4\x8f\xbf")},

	// 10.4: implementations with limitations "regarding the frame size or total
	// message size after reassembly from multiple frames MUST protect themselves
	// against exceeding those limits"; 7.4.1: with 1009. The limit here is the
	// default of 64 KiB.
	{name: "10.4 too big by one", in: binmsg(strings.Repeat("x", 65537))[:10], code: 1009},
	{name: "10.4 2^63-1", in: []byte("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff"), code: 1009},
	{name: "10.4 fragments too big together", in: join(f(0, ws.OpBinary, strings.Repeat("x", 65535)), f(0, 0, "xx")[:2]), code: 1009},
	{name: "10.4 control frames do not count", in: join(f(0, ws.OpBinary, strings.Repeat("x", 65535)), ping("12"), f(fin, 0, "x")), msgs: []string{"ping:12", "binary:" + strings.Repeat("x", 65536)}},
}

func TestRFC6455(t *testing.T) {
	withoutRace(t)
	for _, tt := range rfc6455 {
		t.Run(tt.name, func(t *testing.T) {
			g := decode(t, new(Rules), tt.in)
			if g.code != tt.code || !slices.Equal(g.msgs, tt.msgs) {
				t.Errorf("got %v, want %q, close %d", g, tt.msgs, tt.code)
			}
			if len(tt.in) < 1000 {
				checkCuts(t, new(Rules), Params{}, tt.in)
			} else if b := decode(t, new(Rules), tt.in, everyByte(tt.in)...); !b.equal(g) {
				t.Errorf("byte by byte %v, whole %v", b, g)
			}
		})
	}
}

// TestRFC6455CloseCodes tests all 65,536 codes (7.4.1, 7.4.2), in a frame and as an argument.
func TestRFC6455CloseCodes(t *testing.T) {
	allowed := func(c int) bool {
		for _, r := range [][2]int{
			{1000, 1003}, {1007, 1011}, // 7.4.1
			{1012, 1014}, // registered with IANA after the RFC
			{3000, 3999}, // 7.4.2: libraries, frameworks, applications
			{4000, 4999}, // 7.4.2: private use
		} {
			if r[0] <= c && c <= r[1] {
				return true
			}
		}
		return false
	}
	var d Decoder
	for c := range 1 << 16 {
		_, _, err := d.Next(new(Rules), closing(uint16(c), ""))
		if (err == nil) != allowed(c) {
			t.Errorf("code %d: %v", c, err)
		}
		if err != nil && err.(*CloseError).Code != 1002 {
			t.Errorf("code %d: %v", c, err)
		}
		d.Release()
		if CloseCodeAllowed(ws.StatusCode(c)) != allowed(c) {
			t.Errorf("CloseCodeAllowed(%d) = %v", c, !allowed(c))
		}
	}
}

// TestRFC6455ServerFrames checks the frames of a server against headers that the test builds.
// 6.1: the opcode "MUST be set to the appropriate value from Section 5.2", and FIN
// of the last frame, here the only one, "MUST be set to 1"; 5.2: no RSV, and a
// length of "the minimal number of bytes"; 5.1: not masked.
func TestRFC6455ServerFrames(t *testing.T) {
	for _, op := range []ws.OpCode{ws.OpText, ws.OpBinary, ws.OpPing, ws.OpPong, ws.OpClose} {
		for _, n := range []int{0, 1, 124, 125, 126, 127, 65534, 65535, 65536, 100000} {
			if op.IsControl() && n > 125 {
				continue
			}
			p := strings.Repeat("p", n)
			var want string
			switch {
			case n < 126:
				want = string([]byte{0x80 | byte(op), byte(n)})
			case n < 1<<16:
				want = string([]byte{0x80 | byte(op), 126, byte(n >> 8), byte(n)})
			default:
				want = string([]byte{0x80 | byte(op), 127, 0, 0, 0, 0, 0, byte(n >> 16), byte(n >> 8), byte(n)})
			}
			name := fmt.Sprintf("%s of %d bytes", opName(op), n)
			if HeaderSize(n) != len(want) {
				t.Errorf("%s: HeaderSize = %d, want %d", name, HeaderSize(n), len(want))
			}
			if b := AppendFrame([]byte("before"), op, []byte(p)); string(b) != "before"+want+p {
				t.Errorf("%s: AppendFrame = %x", name, b[:min(len(b), 20)])
			}
			pr := Prepare(op, []byte(p))
			if string(pr.Plain()) != want+p || pr.Op() != op || pr.Len() != n {
				t.Errorf("%s: Prepare = %x, %d, %d", name, pr.Plain()[:min(n, 20)], pr.Op(), pr.Len())
			}
		}
	}
}
