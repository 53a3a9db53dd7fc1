package frame

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/gobwas/ws"
)

func TestDecoderSize(t *testing.T) {
	// Every idle connection has a Decoder: one pointer, nil between messages.
	if n := unsafe.Sizeof(Decoder{}); n != unsafe.Sizeof(uintptr(0)) {
		t.Errorf("a Decoder has %d bytes, want one pointer", n)
	}
	// Every connection with an incomplete message has a state. It fits the allocator's size class of 112
	// bytes: fault 8, buf 24, complete and valid 8, z 8, context 24, frame 24 (op, fin, deflated, phase, mask,
	// left), and the rest is single bytes: head 14, headLen 1, and 9 flags and counters, of which some fill
	// padding.
	if n := unsafe.Sizeof(state{}); n > 112 {
		t.Errorf("a state has %d bytes, want at most 112", n)
	}
}

// cutInputs are inputs for checkCuts, in addition to those of the RFCs.
var cutInputs = []struct {
	name string
	in   []byte
}{
	{"text", text("Hello")},
	{"two", join(text("a"), binmsg("b"))},
	{"ping between fragments", join(f(0, ws.OpText, "He"), ping("?"), f(fin, 0, "llo"))},
	{"rune over fragments", join(f(0, ws.OpText, "\xe2"), f(0, 0, "\x82"), f(fin, 0, "\xac!"))},
	{"empty", join(text(""), f(0, ws.OpBinary, ""), f(0, 0, ""), ping(""), f(fin, 0, ""))},
	{"bad in the second fragment", join(f(0, ws.OpText, "a"), f(0, 0, "b\xf4\x90"), f(fin, 0, ""))},
	{"close between fragments", join(f(0, ws.OpText, "a"), closing(1000, "bye"), f(fin, 0, "b"))},
	{"bad close between fragments", join(f(0, ws.OpText, "a"), closing(1005, ""))},
	{"126 bytes", text(strings.Repeat("ä", 63))},
	{"incomplete", text("Hello")[:8]},
}

// How the input is cut into reads must not change the result.
func TestCuts(t *testing.T) {
	r := &Rules{MaxMessage: 200}
	for _, tt := range cutInputs {
		t.Run(tt.name, func(t *testing.T) { checkCuts(t, r, Params{}, tt.in) })
	}
}

// checkCuts compares the result of one read with those of the input cut at every offset, at every two offsets
// if it is short, and into single bytes.
func checkCuts(t testing.TB, r *Rules, p Params, in []byte) {
	t.Helper()
	start := func() (d Decoder) { d.Start(p); return d }
	want := decodeFrom(t, start(), r, in)
	check := func(cuts ...int) {
		t.Helper()
		if g := decodeFrom(t, start(), r, in, cuts...); !g.equal(want) {
			t.Errorf("cut at %v: %v\nwhole:  %v", cuts, g, want)
		}
	}
	for i := range in {
		check(i)
		if len(in) <= 150 {
			for j := i; j < len(in); j++ {
				check(i, j)
			}
		}
	}
	check(everyByte(in)...)
}

func TestMessagesAcrossReads(t *testing.T) {
	withoutRace(t)
	big := strings.Repeat("0123456789abcdef", 4096) // 64 KiB, the default limit
	var in []byte
	var want []string
	for _, n := range []int{0, 1, 125, 126, 127, 255, 256, 257, 4096, 65535, 65536} {
		in = raw(in, fin|byte(ws.OpBinary), big[:n])
		want = append(want, "binary:"+big[:n])
	}
	for _, step := range []int{1, 2, 3, 7, 100, 1460, 16384, 65536, len(in)} {
		var cuts []int
		for at := step; at < len(in); at += step {
			cuts = append(cuts, at)
		}
		if g := decode(t, new(Rules), in, cuts...); g.code != 0 || !slices.Equal(g.msgs, want) {
			t.Errorf("reads of %d bytes: %d messages, close %d %s", step, len(g.msgs), g.code, g.why)
		}
	}
}

// Next decodes a limited number of frames in one call, however many a read has.
func TestNextYieldsBetweenFrames(t *testing.T) {
	for name, tt := range map[string]struct {
		begin, each []byte
	}{
		"of one byte":         {f(0, ws.OpText, "a"), f(0, ws.OpContinuation, "b")},
		"of three bytes":      {f(0, ws.OpText, "abc"), f(0, ws.OpContinuation, "def")},
		"after half a header": {f(0, ws.OpText, "abc")[2:], f(0, ws.OpContinuation, "b")},
	} {
		t.Run(name, func(t *testing.T) {
			var d Decoder
			if name == "after half a header" {
				d.Next(new(Rules), f(0, ws.OpText, "abc")[:2])
			}
			in := join(tt.begin, bytes.Repeat(tt.each, 2*maxFrames), f(fin, ws.OpContinuation, "c"))
			calls := 0
			for ; len(in) > 0; calls++ {
				m, n, err := d.Next(new(Rules), in)
				if err != nil || n > len(tt.begin)+maxFrames*len(tt.each) {
					t.Fatalf("Next = %v, %d, %v", m, n, err)
				}
				in = in[n:]
				if (m.Op != 0) != (len(in) == 0) {
					t.Fatalf("Next = %v with %d bytes left", m, len(in))
				}
			}
			if calls != 3 {
				t.Errorf("%d calls, want 3", calls)
			}
		})
	}
}

func TestPayloadIsBorrowedFromInput(t *testing.T) {
	in := join(text("whole"), f(fin, ws.OpPing, "p"))
	var d Decoder
	m, n, err := d.Next(new(Rules), in)
	if err != nil || &m.Payload[0] != &in[6] {
		t.Errorf("Next = %v, %v: a whole frame's payload was copied", m, err)
	}
	m, _, err = d.Next(new(Rules), in[n:])
	if err != nil || &m.Payload[0] != &in[n+6] {
		t.Errorf("Next = %v, %v: a whole frame's payload was copied", m, err)
	}
	if d != (Decoder{}) {
		t.Error("whole frames left a state")
	}
}

func TestNoMemoryBetweenMessages(t *testing.T) {
	for _, tt := range cutInputs {
		var d Decoder
		var g got
		for i := range tt.in {
			g.feed(t, &d, new(Rules), tt.in[i:i+1])
		}
		if tt.name == "incomplete" {
			if d.buffered() == 0 {
				t.Errorf("%s: the decoder owns no memory", tt.name)
			}
		} else if d.buffered() != 0 || d.s != nil && !d.s.shared {
			t.Errorf("%s: the decoder owns %d bytes, state %+v", tt.name, d.buffered(), d.s)
		}
		d.Release()
	}
}

func TestFailedDecoderStaysFailed(t *testing.T) {
	var d Decoder
	var g, again got
	g.feed(t, &d, new(Rules), f(fin, 3, ""))
	again.feed(t, &d, new(Rules), text("fine"))
	if g.code != 1002 || !g.equal(again) {
		t.Errorf("first %v, then %v", g, again)
	}
	if d.Release(); d != (Decoder{}) {
		t.Error("a decoder is still failed after Release")
	}
}

func TestDeclaredLengthAllocatesNothing(t *testing.T) {
	r := &Rules{MaxMessage: 1 << 30}
	head := raw(nil, fin|byte(ws.OpBinary), strings.Repeat("x", 65536))[:14]
	copy(head[2:10], "\x00\x00\x00\x00\x3f\xff\xff\xff") // 1 GiB minus 1
	var d Decoder
	defer d.Release()
	var g got
	g.feed(t, &d, r, head)
	for arrived := 1; arrived < 1<<20; arrived *= 2 {
		g.feed(t, &d, r, bytes.Repeat([]byte{1}, arrived))
		if n, limit := d.buffered(), max(256, 4*arrived); n > limit {
			t.Fatalf("%d bytes of memory for %d that arrived", n, 2*arrived)
		}
	}
	if g.code != 0 || g.msgs != nil {
		t.Error(g)
	}
}

func TestBufferNotLargerThanMessage(t *testing.T) {
	// Beyond the pooled sizes, doubling stops at the size of the message.
	r := &Rules{MaxMessage: 1 << 20}
	in := binmsg(strings.Repeat("x", 300_000))
	var d Decoder
	defer d.Release()
	var g got
	for part := range slices.Chunk(in[:len(in)-1], 4096) {
		g.feed(t, &d, r, part)
	}
	if n := d.buffered(); n != 300_000 {
		t.Errorf("%d bytes of memory for a message of 300000", n)
	}
}

// A message may have 100 empty fragments (RFC 6455, 5.4), wherever they are and however the input is cut.
func TestEmptyFragments(t *testing.T) {
	empty, part := "00 80 00000000 ", "00 81 00000000 61 "
	for _, tt := range []struct {
		name, in string
		want     ws.StatusCode
	}{
		{"100", "01 80 00000000 " + strings.Repeat(empty, 100-1) + part + "80 80 00000000", 0},
		{"101", "01 80 00000000 " + strings.Repeat(empty, 100-1) + part + empty + "80 80 00000000", 1008},
		{"100 in each of two messages", strings.Repeat("01 80 00000000 "+strings.Repeat(empty, 100-1)+"80 80 00000000", 2), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in, err := hex.DecodeString(strings.ReplaceAll(tt.in, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			if g := decode(t, new(Rules), bytes.Clone(in)); g.code != tt.want {
				t.Errorf("%v, want code %d", g, tt.want)
			}
			agree(t, in, new(Rules), Params{}, 1, 7, len(in)/2)
		})
	}
}

// Pending counts the memory of incomplete messages only.
func TestPending(t *testing.T) {
	var d Decoder
	r := new(Rules)
	whole := []byte("\x81\x81\x00\x00\x00\x00a")
	if d.Next(r, bytes.Clone(whole)); d.Pending() != 0 {
		t.Errorf("%d bytes after a message", d.Pending())
	}
	begun := append([]byte("\x81\xfe\x10\x00\x00\x00\x00\x00"), make([]byte, 1000)...)
	if d.Next(r, begun); d.Pending() < 1000 || d.Pending() > 4096 {
		t.Errorf("%d bytes for 1000 of 4096", d.Pending())
	}
	m, _, err := d.Next(r, make([]byte, 4096-1000))
	if err != nil || len(m.Payload) != 4096 || d.Pending() != 0 {
		t.Errorf("a message of %d bytes, %d pending, %v", len(m.Payload), d.Pending(), err)
	}
	d.Release()
}
