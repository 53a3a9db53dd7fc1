package frame

import (
	"fmt"
	"sort"
	"strings"
	"testing"
	"unsafe"

	"github.com/gobwas/ws"
)

// TestCompressedTextFailsAtItsFirstBadByte feeds text byte by byte whose end, or
// even the end of its frame, never comes. Huffman codes end within a byte, so
// what is wrong is known with the byte that has the last bit of it.
func TestCompressedTextFailsAtItsFirstBadByte(t *testing.T) {
	for _, level := range []int{-2, 0, 1, 9} {
		good := jsonLike(2000)
		z := new(deflater).message(good+"\xff"+good, level, false)
		in := f(rsv1, ws.OpText, z)

		// The reference is asked how many bytes it takes to say the first 2001.
		at := sort.Search(len(z), func(i int) bool {
			n := naiveInflater{in: []byte(z[:i]), op: ws.OpBinary, rules: new(Rules)}
			n.run()
			return len(n.out) > len(good)
		})
		at += len(in) - len(z) - 1

		d := started(noContext)
		var g got
		for i := range in {
			if g.feed(t, &d, new(Rules), in[i:i+1]); g.code != 0 {
				if i != at {
					t.Errorf("level %d: failed at byte %d, want %d", level, i, at)
				}
				break
			}
		}
		if g.code != 1007 || g.why != faultText.Reason {
			t.Errorf("level %d: got %v, want 1007", level, g)
		}
		d.Release()
	}
}

// TestInflateLimitsHoldAsBytesArrive: a bomb ends with the byte that is too much,
// not with its last, and never holds more than its limit.
func TestInflateLimitsHoldAsBytesArrive(t *testing.T) {
	for _, tt := range []struct {
		name  string
		rules Rules
		limit int
	}{
		{"absolute", Rules{MaxMessage: 20000}, 20000},
		{"ratio", Rules{MaxMessage: 1 << 24}, 64<<10 + 300},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := f(rsv1, ws.OpBinary, new(deflater).message(strings.Repeat("\x00", 1<<20), 9, false))
			d := started(noContext)
			defer d.Release()
			var g got
			for i := range in {
				g.feed(t, &d, &tt.rules, in[i:i+1])
				if g.code != 0 {
					// 1030 bytes come out of one.
					if most := tt.limit/1000 + 40; i > most {
						t.Errorf("failed with byte %d, want %d at most", i, most)
					}
					break
				}
				if n := d.buffered(); n > 2*tt.limit {
					t.Fatalf("holds %d bytes", n)
				}
			}
			if g.code != 1009 {
				t.Errorf("got %v, want 1009", g)
			}
			checkCuts(t, &tt.rules, noContext, in[:200])
		})
	}
}

// TestStoppedCompressedMessage says what doc.go says of the memory.
func TestStoppedCompressedMessage(t *testing.T) {
	in := deflated(ws.OpText, new(deflater).message(jsonLike(2000), 9, false))
	d := started(noContext)
	var g got
	g.feed(t, &d, new(Rules), in[:20])
	own := int(unsafe.Sizeof(inflater{}))
	if n := d.buffered(); n != own || own > 4<<10 {
		t.Errorf("holds %d bytes, want an inflater of %d, and that to be 4096 at most", n, own)
	}
	for i := range in[20 : len(in)-1] {
		g.feed(t, &d, new(Rules), in[20+i:21+i])
	}
	if n := d.buffered(); n > own+4096 {
		t.Errorf("holds %d bytes for 2000", n)
	}
	g.feed(t, &d, new(Rules), in[len(in)-1:])
	if d.s != idleStates[0] || len(g.msgs) != 1 {
		t.Errorf("%d messages, state %+v", len(g.msgs), d.s)
	}
}

// TestStoredBehindCodes has a stored block begin at any bit behind one with codes:
// what was read ahead for the one is of the other.
func TestStoredBehindCodes(t *testing.T) {
	for short := range 20 {
		for long := range 9 {
			// A fixed block of literals of 8 and of 9 bits, first bit lowest.
			bits := "010"
			for range short {
				bits += fmt.Sprintf("%08b", 0x30+'a')
			}
			for range long {
				bits += fmt.Sprintf("%09b", 0x190+0xff-144)
			}
			bits += "0000000" + "000" // its end, and the header of a stored one
			z := make([]byte, (len(bits)+7)/8)
			for i, bit := range bits {
				z[i/8] |= byte(bit-'0') << (i % 8)
			}
			body := noise(50)
			z = append(z, 50, 0, 0xff-50, 0xff)
			z = append(z, body+helloFixed...)
			in := deflated(ws.OpBinary, string(z))
			want := "binary:" + strings.Repeat("a", short) + strings.Repeat("\xff", long) + body + "Hello"
			if g := decodeFrom(t, started(noContext), new(Rules), in); g.code != 0 || g.msgs[0] != want {
				t.Errorf("%d of 8 bits, %d of 9: %v", short, long, g)
			}
		}
	}
}
