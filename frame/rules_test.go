package frame

import (
	"math"
	"testing"

	"github.com/gobwas/ws"
)

// TestLimits compares the limits with the documented ones, of which the tests have
// their own idea, at their edges.
func TestLimits(t *testing.T) {
	for _, message := range []int{0, 1, 7, 100, 65535, 65536, 65537, 1 << 20, 1 << 30} {
		for _, ratio := range []int{0, 1, 3, 99, 1 << 20, math.MaxInt} {
			for _, free := range []int{0, 1, 13} {
				r := &Rules{MaxMessage: message, Deflate: Deflate{MaxRatio: ratio}, free: free}
				for _, at := range []int{0, free, 65536, messageLimit(r), math.MaxInt} {
					for n := max(0, at/max(1, ratio)-2); n <= at/max(1, ratio)+2; n++ {
						if got, want := r.maxInflated(n), inflatedLimit(r, n); got != want {
							t.Fatalf("%+v: %d bytes may become %d, want %d", r, n, got, want)
						}
					}
				}
			}
		}
	}
}

// TestCompressedFormMayBeLarger: by an eighth and 64 bytes.
func TestCompressedFormMayBeLarger(t *testing.T) {
	for _, tt := range []struct {
		name       string
		message, n int
		code       ws.StatusCode
	}{
		{"none", 1000, 1000 + 125 + 64, 0},
		{"one byte", 1000, 1000 + 125 + 65, 1009},
		{"none of the default", 0, 65536 + 8192 + 64, 0},
		{"one byte of the default", 0, 65536 + 8192 + 65, 1009},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &Rules{MaxMessage: tt.message}
			whole := deflated(ws.OpBinary, string(make([]byte, tt.n)))
			if g := decodeFrom(t, started(noContext), r, whole[:len(whole)-tt.n]); g.code != tt.code {
				t.Errorf("a frame: %v, want %d", g, tt.code)
			}
			parts := join(f(rsv1, ws.OpBinary, "\x00"), f(0, ws.OpContinuation, string(make([]byte, tt.n-1))))
			if g := decodeFrom(t, started(noContext), r, parts[:len(parts)-(tt.n-1)]); g.code != tt.code {
				t.Errorf("in fragments: %v, want %d", g, tt.code)
			}
		})
	}
}
