package frame

import (
	"strings"
	"testing"
)

// Bytes that are not a frame are sent as they are, whatever was negotiated.
func TestRaw(t *testing.T) {
	for _, n := range []int{0, 1, 126, 1000, 70_000} {
		text := strings.Repeat("x", n)
		p := Raw([]byte(text))
		if string(p.Plain()) != text || string(p.Payload()) != text || p.Len() != n || string(p.Deflated(&Rules{}, Params{ServerBits: 15})) != text {
			t.Errorf("%d bytes are not as they were", n)
		}
	}
}
