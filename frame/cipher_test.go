package frame

import (
	"bytes"
	"testing"

	"github.com/gobwas/ws"
)

// TestCipher checks the function that unmasks every payload byte, at every phase of the mask, every alignment
// and every length up to several of its blocks, and that it does not write to the bytes around the payload.
func TestCipher(t *testing.T) {
	src := make([]byte, 400)
	for i := range src {
		src[i] = byte(i*7 + i>>8)
	}
	for phase := range 4 {
		for align := range 16 {
			for n := range 300 {
				got := bytes.Clone(src)
				ws.Cipher(got[align:align+n], testMask, phase)
				for i := range got {
					want := src[i]
					if i >= align && i < align+n {
						want ^= testMask[(phase+i-align)%4]
					}
					if got[i] != want {
						t.Fatalf("phase %d, align %d, length %d: byte %d is %#x, want %#x", phase, align, n, i, got[i], want)
					}
				}
			}
		}
	}
}
