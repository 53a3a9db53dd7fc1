package frame

import (
	"testing"

	"github.com/gobwas/ws"
)

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
			if g := decodeFrom(t, started(alone), r, whole[:len(whole)-tt.n]); g.code != tt.code {
				t.Errorf("a frame: %v, want %d", g, tt.code)
			}
			parts := join(f(rsv1, ws.OpBinary, "\x00"), f(0, ws.OpContinuation, string(make([]byte, tt.n-1))))
			if g := decodeFrom(t, started(alone), r, parts[:len(parts)-(tt.n-1)]); g.code != tt.code {
				t.Errorf("in fragments: %v, want %d", g, tt.code)
			}
		})
	}
}
