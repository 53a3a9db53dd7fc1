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
	// Every idle connection pays for it: one pointer, nil at rest.
	if n := unsafe.Sizeof(Decoder{}); n != 8 {
		t.Errorf("a Decoder has %d bytes, want 8", n)
	}
	// Every connection that stopped in the middle of something pays for it. It
	// fills the allocator's class of 112 bytes: fault 8, buf 24, size and valid
	// 16, frame 24 (op, fin, deflated, phase, mask, left), head and its length
	// 15, op, empty and five flags 7, padding.
	if n := unsafe.Sizeof(state{}); n > 112 {
		t.Errorf("a state has %d bytes, want 112 at most", n)
	}
}

// cutInputs are inputs for the decoder's law; all of RFC 6455's tests are, too.
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
	{"half", text("Hello")[:8]},
}

// TestLawEveryTwoCuts checks that input cut anywhere gives the same as whole.
func TestLawEveryTwoCuts(t *testing.T) {
	r := &Rules{MaxMessage: 200}
	for _, tt := range cutInputs {
		t.Run(tt.name, func(t *testing.T) { checkCuts(t, r, Params{}, tt.in) })
	}
}

// checkCuts compares the whole input with every single cut, every two cuts if
// there are few enough of them, and single bytes.
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

// However many frames a read has, Next lets its caller look up between them.
func TestNextTakesSomeFramesAtATime(t *testing.T) {
	for name, tt := range map[string]struct {
		begin, each []byte
	}{
		"bytes":              {f(0, ws.OpText, "a"), f(0, ws.OpContinuation, "b")},
		"longer":             {f(0, ws.OpText, "abc"), f(0, ws.OpContinuation, "def")},
		"half a frame first": {f(0, ws.OpText, "abc")[2:], f(0, ws.OpContinuation, "b")},
	} {
		t.Run(name, func(t *testing.T) {
			var d Decoder
			if name == "half a frame first" {
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
				t.Errorf("%d calls, not 3", calls)
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
		t.Error("whole frames left a state behind")
	}
}

func TestNothingIsHeldBetweenMessages(t *testing.T) {
	for _, tt := range cutInputs {
		var d Decoder
		var g got
		for i := range tt.in {
			g.feed(t, &d, new(Rules), tt.in[i:i+1])
		}
		if tt.name == "half" {
			if d.buffered() == 0 {
				t.Errorf("%s: nothing is buffered", tt.name)
			}
		} else if d.buffered() != 0 || d.s != nil && !d.s.shared {
			t.Errorf("%s: %d bytes are buffered, state %+v", tt.name, d.buffered(), d.s)
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
		t.Error("Release left a failed decoder failed")
	}
}

func TestMemoryFollowsBytesNotDeclarations(t *testing.T) {
	r := &Rules{MaxMessage: 1 << 30}
	head := raw(nil, fin|byte(ws.OpBinary), strings.Repeat("x", 65536))[:14]
	copy(head[2:10], "\x00\x00\x00\x00\x3f\xff\xff\xff") // 1 GiB less one
	var d Decoder
	defer d.Release()
	var g got
	g.feed(t, &d, r, head)
	for arrived := 1; arrived < 1<<20; arrived *= 2 {
		g.feed(t, &d, r, bytes.Repeat([]byte{1}, arrived))
		if n, limit := d.buffered(), max(256, 4*arrived); n > limit {
			t.Fatalf("%d bytes are held for %d that arrived", n, 2*arrived)
		}
	}
	if g.code != 0 || g.msgs != nil {
		t.Error(g)
	}
}

func TestBufferIsNoLargerThanTheMessage(t *testing.T) {
	// Beyond the pooled sizes, doubling stops at what is still to come.
	r := &Rules{MaxMessage: 1 << 20}
	in := binmsg(strings.Repeat("x", 300_000))
	var d Decoder
	defer d.Release()
	var g got
	for part := range slices.Chunk(in[:len(in)-1], 4096) {
		g.feed(t, &d, r, part)
	}
	if n := d.buffered(); n != 300_000 {
		t.Errorf("%d bytes are held for a message of 300000", n)
	}
}

// TestEmptyFragments: a few are allowed, RFC 6455 section 5.4, and a flood of them
// is not, wherever in a message and however it is cut.
func TestEmptyFragments(t *testing.T) {
	empty, part := "00 80 00000000 ", "00 81 00000000 61 "
	for _, tt := range []struct {
		name, in string
		want     ws.StatusCode
	}{
		{"as many as may be", "01 80 00000000 " + strings.Repeat(empty, 100-1) + part + "80 80 00000000", 0},
		{"one more", "01 80 00000000 " + strings.Repeat(empty, 100-1) + part + empty + "80 80 00000000", 1008},
		{"anew in each message", strings.Repeat("01 80 00000000 "+strings.Repeat(empty, 100-1)+"80 80 00000000", 2), 0},
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

// TestHeld counts the memory of what has not ended, and of nothing else.
func TestHeld(t *testing.T) {
	var d Decoder
	r := new(Rules)
	whole := []byte("\x81\x81\x00\x00\x00\x00a")
	if d.Next(r, bytes.Clone(whole)); d.Pending() != 0 {
		t.Errorf("%d bytes behind a message", d.Pending())
	}
	begun := append([]byte("\x81\xfe\x10\x00\x00\x00\x00\x00"), make([]byte, 1000)...)
	if d.Next(r, begun); d.Pending() < 1000 || d.Pending() > 4096 {
		t.Errorf("%d bytes for 1000 of 4096", d.Pending())
	}
	m, _, err := d.Next(r, make([]byte, 4096-1000))
	if err != nil || len(m.Payload) != 4096 || d.Pending() != 0 {
		t.Errorf("%d bytes and %d held, %v", len(m.Payload), d.Pending(), err)
	}
	d.Release()
}
