package frame

import (
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// allocs returns the number of allocations when a decoder gets the reads. The decoder writes to its input, so
// each run copies the reads to the same memory.
func allocs(t *testing.T, r *Rules, p Params, reads ...[]byte) float64 {
	t.Helper()
	var d Decoder
	d.Start(p)
	src := join(reads...)
	in := make([]byte, len(src))
	return testing.AllocsPerRun(1000, func() {
		copy(in, src)
		rest := in
		for _, read := range reads {
			part := rest[:len(read)]
			rest = rest[len(read):]
			for {
				m, n, err := d.Next(r, part)
				if err != nil {
					t.Fatal(err)
				}
				part = part[n:]
				if m.Op == 0 && len(part) == 0 {
					break
				}
			}
		}
	})
}

func TestDecodeAllocatesNothing(t *testing.T) {
	big := strings.Repeat("x", 20000)
	for _, tt := range []struct {
		name  string
		pools bool // uses a sync.Pool, which drops items at random under -race
		reads [][]byte
	}{
		{"text", false, [][]byte{text("Hello")}},
		{"binary", false, [][]byte{binmsg("Hello")}},
		{"ping", false, [][]byte{ping("Hello")}},
		{"pipelined", false, [][]byte{join(text("a"), binmsg("b"), ping(""), text("c"))}},
		{"16 KiB", false, [][]byte{text(big[:16384])}},
		{"header in two reads", true, [][]byte{text("Hello")[:3], text("Hello")[3:]}},
		{"payload in two reads", true, [][]byte{text("Hello")[:8], text("Hello")[8:]}},
		{"20 KB in three reads", true, [][]byte{text(big)[:1460], text(big)[1460:4096], text(big)[4096:]}},
		{"fragments", true, [][]byte{join(f(0, ws.OpText, "He"), ping("p"), f(fin, 0, "llo"))}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.pools && raceEnabled {
				t.Skip("sync.Pool drops items at random under -race")
			}
			if n := allocs(t, new(Rules), Params{}, tt.reads...); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}

func TestEncodeAllocations(t *testing.T) {
	payload := make([]byte, 1000)
	dst := make([]byte, 0, 1004)
	if n := testing.AllocsPerRun(100, func() { AppendFrame(dst, ws.OpText, payload) }); n != 0 {
		t.Errorf("AppendFrame: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { AppendClose(dst, 1001, "going away") }); n != 0 {
		t.Errorf("AppendClose: %v allocations", n)
	}
	var p *Prepared
	if n := testing.AllocsPerRun(100, func() { p = Prepare(ws.OpText, payload) }); n != 2 {
		t.Errorf("Prepare: %v allocations, want 2: the frame and the Prepared", n)
	}
	if n := testing.AllocsPerRun(100, func() { p.Plain() }); n != 0 {
		t.Errorf("Plain: %v allocations", n)
	}
}

func TestHostileInputAllocatesNothing(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   []byte
	}{
		{"reserved opcode", f(fin, 3, "")},
		{"unmasked", []byte("\x81\x05Hello")},
		{"not UTF-8", text("\xff")},
		{"too big", binmsg(strings.Repeat("x", DefaultMaxMessage+1))[:10]},
		{"close code", closing(1005, "")},
		{"half a close code", f(fin, ws.OpClose, "\x03")},
	} {
		in := make([]byte, len(tt.in))
		if n := testing.AllocsPerRun(100, func() {
			copy(in, tt.in)
			var d Decoder
			if _, _, err := d.Next(new(Rules), in); err == nil {
				t.Error("no error")
			}
			d.Release()
		}); n != 0 {
			t.Errorf("%s: %v allocations", tt.name, n)
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		if _, _, err := ParseClose([]byte{3}); err == nil {
			t.Error("no error")
		}
	}); n != 0 {
		t.Errorf("ParseClose: %v allocations", n)
	}
}
