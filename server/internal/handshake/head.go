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

// errBareLF and errBareCR reject a line that ends with LF or CR alone. RFC 9112 section 2.2
// lets a server take LF for a line end, and wants CR to be invalid, or a space. A proxy on the
// way may take either for a part of a value, and pass on a field that it would have checked or
// replaced, such as X-Forwarded-For; a line that all read in the same way cannot smuggle one.
// The rejection comes at once, because such a request may never end.
var (
	errBareLF = Reject(http.StatusBadRequest, "a line of the request ends with LF alone: want CRLF")
	errBareCR = Reject(http.StatusBadRequest, "a line of the request has a CR that no LF follows: want CRLF")
)

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
	if len(b) > 0 && at(-1) == '\r' && b[0] != '\n' {
		return 0, errBareCR
	}
	for start := 0; ; {
		line, _, ended := bytes.Cut(b[start:], []byte{'\n'})
		if cr := bytes.IndexByte(line, '\r'); cr >= 0 && cr < len(line)-1 {
			return 0, errBareCR
		}
		if !ended {
			return 0, nil
		}
		lf := start + len(line)
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
