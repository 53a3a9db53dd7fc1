package frame

import (
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"
)

// TestDeflated also checks the headers, in inflateFrame.
func TestDeflated(t *testing.T) {
	withoutRace(t)
	for level := range 10 {
		r := &Rules{Deflate: Deflate{Level: level, MinSize: 1}}
		for _, n := range []int{1, 100, 1000, 32767, 32768, 65536, 200000} {
			for i, p := range []string{jsonLike(n), noise(n)} {
				op := []ws.OpCode{ws.OpText, ws.OpBinary}[(level+i)%2]
				pr := Prepare(op, []byte(p))
				b := pr.Deflated(r, noContext)
				got, deflated := inflateFrame(t, op, b)
				if got != p {
					t.Errorf("level %d, %d bytes: other bytes after inflating", level, n)
				}
				if want := i == 0 && n > 1; deflated != want && n != 100 { // which only some levels make smaller
					t.Errorf("level %d, %d bytes: compressed %v, want %v", level, n, deflated, want)
				}
				if len(b) > len(pr.Plain()) {
					t.Errorf("level %d, %d bytes: %d bytes compressed, %d plain", level, n, len(b), len(pr.Plain()))
				}
			}
		}
	}
}

func TestDeflatedOrPlain(t *testing.T) {
	small, large := jsonLike(255), jsonLike(1000)
	for _, tt := range []struct {
		name     string
		rules    Rules
		params   Params
		op       ws.OpCode
		payload  string
		deflated bool
	}{
		{"negotiated", Rules{}, noContext, ws.OpText, large, true},
		{"negotiated, binary", Rules{}, noContext, ws.OpBinary, large, true},
		{"negotiated, compressed length of 7 bits", Rules{}, noContext, ws.OpBinary, strings.Repeat("a", 1000), true},
		{"not negotiated", Rules{}, Params{}, ws.OpText, large, false},
		{"below the minimum", Rules{}, noContext, ws.OpText, small, false},
		{"minimum lowered", Rules{Deflate: Deflate{MinSize: 200, Level: 9}}, noContext, ws.OpText, small, true},
		{"at the minimum", Rules{Deflate: Deflate{MinSize: 1000}}, noContext, ws.OpText, large, true},
		{"minimum raised", Rules{Deflate: Deflate{MinSize: 1001}}, noContext, ws.OpText, large, false},
		{"does not compress", Rules{}, noContext, ws.OpBinary, noise(1000), false},
		{"empty", Rules{Deflate: Deflate{MinSize: 1}}, noContext, ws.OpText, "", false},
		{"RFC 7692, 6.1: control frame", Rules{Deflate: Deflate{MinSize: 1}}, noContext, ws.OpPing, strings.Repeat("a", 100), false},
		{"7.1.2.1: longer than the client's window", Rules{}, Params{ServerBits: 9}, ws.OpText, large, false},
		{"7.1.2.1: as long as the client's window", Rules{}, Params{ServerBits: 10}, ws.OpText, jsonLike(1024), true},
		{"7.1.2.1: longer than any window", Rules{}, noContext, ws.OpText, jsonLike(100000), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := Prepare(tt.op, []byte(tt.payload))
			payload, deflated := inflateFrame(t, tt.op, p.Deflated(&tt.rules, tt.params))
			if payload != tt.payload || deflated != tt.deflated {
				t.Errorf("compressed: %v, want %v", deflated, tt.deflated)
			}
		})
	}
}

// All receivers share one compressed frame, and the plain frame does not change.
func TestDeflatedOnce(t *testing.T) {
	p := Prepare(ws.OpText, []byte(jsonLike(5000)))
	frames := make([][]byte, 100)
	var wg sync.WaitGroup
	for i := range frames {
		wg.Go(func() { frames[i] = p.Deflated(new(Rules), noContext) })
	}
	wg.Wait()
	for _, b := range frames {
		if &b[0] != &frames[0][0] || len(b) != len(frames[0]) {
			t.Fatal("compressed more than once")
		}
	}
	if got, deflated := inflateFrame(t, ws.OpText, p.Plain()); deflated || got != jsonLike(5000) {
		t.Error("the plain frame has changed")
	}
	if n := testing.AllocsPerRun(100, func() { p.Deflated(new(Rules), noContext) }); n != 0 {
		t.Errorf("%v allocations for one more receiver", n)
	}
}

func TestDeflateAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops items at random under -race")
	}
	payload := []byte(jsonLike(5000))
	for _, level := range []int{0, 1, 5} {
		r := &Rules{Deflate: Deflate{Level: level}}
		n := testing.AllocsPerRun(100, func() { Prepare(ws.OpText, payload).Deflated(r, noContext) })
		if n != 3 {
			t.Errorf("level %d: %v allocations, want 3: the two frames and the Prepared", level, n)
		}
	}
	z := deflated(ws.OpText, new(deflater).message(string(payload), 5, false))
	for _, tt := range []struct {
		name  string
		reads [][]byte
	}{
		{"whole", [][]byte{z}},
		{"in two reads", [][]byte{z[:100], z[100:]}},
		{"two messages", [][]byte{join(z, z)}},
	} {
		for _, p := range []Params{noContext, withContext} {
			if n := allocs(t, new(Rules), p, tt.reads...); n != 0 {
				t.Errorf("inflating, %s, %+v: %v allocations", tt.name, p, n)
			}
		}
	}
}
