package handshake

import (
	"bytes"
	"fmt"
	"net/http"

	"golang.org/x/net/http/httpguts"
)

// Head gathers a request that comes in several reads. The zero value is empty.
type Head struct{ b []byte }

// Take adds the bytes of a read. When the request is complete, it returns all of it,
// and rest is what follows it in b. Until then head is nil. Take rejects a request whose
// first byte cannot begin one, one with a line that does not end with CRLF, and one that has
// not ended after most bytes. So the outcome does not depend on how the bytes are cut into
// reads.
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
	n, err := headLength(h.b, b[:min(len(b), most-len(h.b))])
	switch {
	case err != nil:
		return nil, nil, err
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

// errBareLF rejects a line that ends with LF alone. RFC 9112 section 2.2 lets a server take it
// for a line end. A proxy on the way may take it for a part of a value, and pass on a field
// that it would have checked or replaced, such as X-Forwarded-For; a line that all read in the
// same way cannot smuggle one. At once, because such a request has no end that is waited for.
var errBareLF = Reject(http.StatusBadRequest, "a line of the request ends with LF alone: want CRLF")

// headLength returns the number of bytes of b that belong to the request that began with
// had, 0 if its end is not in b.
func headLength(had, b []byte) (int, error) {
	// The end, and a CRLF, may lie across the cut.
	var before [3]byte
	copy(before[3-min(len(had), 3):], had[max(len(had)-3, 0):])
	at := func(i int) byte {
		if i < 0 {
			return before[3+i]
		}
		return b[i]
	}
	for start := 0; ; {
		n := bytes.IndexByte(b[start:], '\n')
		if n < 0 {
			return 0, nil
		}
		lf := start + n
		if at(lf-1) != '\r' {
			return 0, errBareLF
		}
		if at(lf-3) == '\r' && at(lf-2) == '\n' {
			return lf + 1, nil
		}
		start = lf + 1
	}
}

// NewHead returns a Head that has gathered b, which Bytes of another one has returned.
func NewHead(b []byte) Head { return Head{b} }

// Bytes returns what was gathered.
func (h *Head) Bytes() []byte { return h.b }
