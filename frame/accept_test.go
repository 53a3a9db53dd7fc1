package frame

import (
	"crypto/sha1"
	"encoding/base64"
	"strings"
	"testing"
)

func TestAppendAcceptKey(t *testing.T) {
	for _, tt := range []struct{ key, want string }{
		{"dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="}, // RFC 6455, 1.3
		{"x3JJHMbDL1EzLkh9GBhXDw==", "HSmrc0sMlYUkAGmm5OPpG2HaGWk="}, // Wikipedia, "WebSocket"
	} {
		if got := AppendAcceptKey([]byte("before "), []byte(tt.key)); string(got) != "before "+tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// A key of any length is answered: whether it is valid is checked elsewhere.
func TestAppendAcceptKeyOfAnyLength(t *testing.T) {
	for _, n := range []int{0, 1, 23, 25, 100} {
		key := strings.Repeat("k", n)
		sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		if got := AppendAcceptKey(nil, []byte(key)); string(got) != base64.StdEncoding.EncodeToString(sum[:]) {
			t.Errorf("%d bytes: got %q", n, got)
		}
	}
}

func TestAppendAcceptKeyAllocatesNothing(t *testing.T) {
	key, dst := []byte("dGhlIHNhbXBsZSBub25jZQ=="), make([]byte, 0, 28)
	if n := testing.AllocsPerRun(100, func() { AppendAcceptKey(dst, key) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAppendAcceptKey(b *testing.B) {
	key, dst := []byte("dGhlIHNhbXBsZSBub25jZQ=="), make([]byte, 0, 28)
	b.ReportAllocs()
	for b.Loop() {
		AppendAcceptKey(dst, key)
	}
}
