package handshake

import (
	"bytes"
	"fmt"
	"net/http"

	"golang.org/x/net/http/httpguts"
)

// Head gathers a request that comes in several reads. The zero value is empty.
type Head struct{ b []byte }

// headEnd ends a request without a body, RFC 9112 section 2.1.
var headEnd = []byte("\r\n\r\n")

// Take adds the bytes of a read. When the request is complete, it returns all of it,
// and rest is what follows it in b. Until then head is nil. Take rejects a request whose
// first byte cannot begin one, and a request that has not ended after most bytes. So the
// outcome does not depend on how the bytes are cut into reads.
//
// head is borrowed: from b if all of it came in one read, from h otherwise.
func (h *Head) Take(b []byte, most int) (head, rest []byte, err error) {
	if len(h.b) == 0 {
		if len(b) == 0 {
			return nil, nil, nil
		}
		if c := b[0]; c != '\r' && !httpguts.IsTokenRune(rune(c)) { // TLS for instance, which would never have an end
			return nil, nil, errRequestLine
		}
	}
	n := headLength(h.b, b[:min(len(b), most-len(h.b))])
	switch {
	case n > 0 && len(h.b) == 0:
		return b[:n], b[n:], nil
	case n > 0:
		h.b = append(h.b, b[:n]...)
		return h.b, b[n:], nil
	case len(h.b)+len(b) <= most:
		h.b = append(h.b, b...)
		return nil, nil, nil
	}
	return nil, nil, &Rejection{
		Status: http.StatusRequestHeaderFieldsTooLarge,
		Text:   fmt.Sprintf("the request header is longer than %d bytes", most),
	}
}

// Held returns the memory that the head takes, in bytes.
func (h *Head) Held() int { return cap(h.b) }

// headLength returns the number of bytes of b that belong to the request that began with
// had, 0 if its end is not in b.
func headLength(had, b []byte) int {
	// The end may lie across the cut.
	var seam [6]byte
	n := copy(seam[:3], had[max(len(had)-3, 0):])
	m := n + copy(seam[n:n+3], b)
	if i := bytes.Index(seam[:m], headEnd); i >= 0 {
		return i + len(headEnd) - n
	}
	if i := bytes.Index(b, headEnd); i >= 0 {
		return i + len(headEnd)
	}
	return 0
}
