package frame

import (
	"math"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// TestLimits compares the limits at their edges with those of the reference.
func TestLimits(t *testing.T) {
	for _, message := range []int{0, 1, 7, 100, 65535, 65536, 65537, 1 << 20, 1 << 30} {
		for _, ratio := range []int{0, 1, 3, 99, 1 << 20, math.MaxInt} {
			for _, free := range []int{0, 1, 13} {
				r := &Rules{MaxMessage: message, Deflate: Deflate{MaxRatio: ratio}, free: free}
				for _, at := range []int{0, free, 65536, messageLimit(r), math.MaxInt} {
					for n := max(0, at/max(1, ratio)-2); n <= at/max(1, ratio)+2; n++ {
						if got, want := r.maxInflated(n), inflatedLimit(r, n); got != want {
							t.Fatalf("%+v: %d bytes may inflate to %d, want %d", r, n, got, want)
						}
					}
				}
			}
		}
	}
}

// A compressed message may be larger than MaxMessage by an eighth and 64 bytes.
func TestCompressedMessageMayBeLarger(t *testing.T) {
	for _, tt := range []struct {
		name       string
		message, n int
		code       ws.StatusCode
	}{
		{"at the limit", 1000, 1000 + 125 + 64, 0},
		{"above the limit", 1000, 1000 + 125 + 65, 1009},
		{"at the default", 0, 65536 + 8192 + 64, 0},
		{"above the default", 0, 65536 + 8192 + 65, 1009},
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

func TestValidate(t *testing.T) {
	if got, want := (&Rules{MaxMessage: -1}).Validate().Error(), "MaxMessage is -1: want 1 to 1073741824, or 0 for the default of 65536"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, tt := range []struct {
		rules Rules
		field string // that is wrong; empty: none
	}{
		{Rules{}, ""},
		{Rules{MaxMessage: -1}, "MaxMessage"},
		{Rules{MaxMessage: 1 << 30}, ""},
		{Rules{MaxMessage: 1<<30 + 1}, "MaxMessage"},
		{Rules{Deflate: Deflate{Level: 9, MinSize: 1, MaxRatio: 1, ContextBits: 15}}, ""},
		{Rules{Deflate: Deflate{Level: -1}}, "Deflate.Level"},
		{Rules{Deflate: Deflate{Level: 10}}, "Deflate.Level"},
		{Rules{Deflate: Deflate{MinSize: -1}}, "Deflate.MinSize"},
		{Rules{Deflate: Deflate{MaxRatio: -1}}, "Deflate.MaxRatio"},
		{Rules{Deflate: Deflate{ContextBits: 8}}, "Deflate.ContextBits"},
		{Rules{Deflate: Deflate{ContextBits: 16}}, "Deflate.ContextBits"},
	} {
		var field string
		err := tt.rules.Validate()
		if e, ok := err.(interface {
			Field() string
			Problem() string
		}); ok {
			field = e.Field()
			if p := e.Problem(); strings.Contains(p, "default") || !strings.HasPrefix(err.Error(), field+" "+p) {
				t.Errorf("problem %q of %v", p, err)
			}
		}
		if field != tt.field || err != nil && !strings.HasPrefix(err.Error(), field+" is ") {
			t.Errorf("%+v: %v", tt.rules, err)
		}
	}
}
