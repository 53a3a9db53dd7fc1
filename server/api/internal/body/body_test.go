package body

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// request returns a request whose body is streamed.
func request(stream io.Reader, length int) *fasthttp.RequestCtx {
	ctx := new(fasthttp.RequestCtx)
	ctx.Request.SetBodyStream(stream, length)
	return ctx
}

// broken returns an error after some bytes.
type broken struct {
	io.Reader
	err error
}

func (b *broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = b.err
	}
	return n, err
}

// TestRead: a body is whole and not longer than allowed, or an error.
func TestRead(t *testing.T) {
	const limit = 3 * Long
	whole := func() bool { return false }
	for _, tt := range []struct {
		name   string
		ctx    *fasthttp.RequestCtx
		cut    func() bool
		length int
		status int // 0: no error
	}{
		{"none", new(fasthttp.RequestCtx), whole, 0, 0},
		{"short", request(strings.NewReader("abc"), 3), whole, 3, 0},
		{"long", request(strings.NewReader(strings.Repeat("x", limit)), -1), whole, limit, 0},
		{"too long", request(strings.NewReader(strings.Repeat("x", limit+1)), -1), whole, 0, 413},
		{"said to be too long", request(strings.NewReader("abc"), limit+1), whole, 0, 413},
		{"breaks off", request(&broken{strings.NewReader("abc"), errors.New("reset")}, -1), whole, 0, 400},
		{"takes too long", request(&broken{strings.NewReader("abc"), os.ErrDeadlineExceeded}, -1), whole, 0, 408},
		{"ends with the connection", request(strings.NewReader("abc"), -1), func() bool { return true }, 0, 400},
	} {
		slots := make(Slots, 1)
		b, p := Read(tt.ctx, limit, slots, tt.cut)
		if p != nil {
			if p.Status != tt.status || len(slots) > 0 {
				t.Errorf("%s: %+v, %d slots acquired", tt.name, p, len(slots))
			}
			continue
		}
		if tt.status != 0 || len(b.B) != tt.length || (len(slots) > 0) != (tt.length >= Long) {
			t.Errorf("%s: %d bytes, %d slots acquired, want %d bytes or %d", tt.name, len(b.B), len(slots), tt.length, tt.status)
		}
		if b.Free(); len(slots) > 0 {
			t.Errorf("%s: the slot is still acquired", tt.name)
		}
	}
}

// TestWith: a body keeps its bytes while it moves to larger buffers.
func TestWith(t *testing.T) {
	b, want := New(), []byte(nil)
	for i := range 100 {
		part := bytes.Repeat([]byte{byte(i)}, 1000)
		b, want = b.With(part), append(want, part...)
	}
	if !bytes.Equal(b.B, want) {
		t.Errorf("%d bytes, want %d", len(b.B), len(want))
	}
	b.Free()
	if b := New(); len(b.B) != 0 || cap(b.B) != bodyFirst {
		t.Errorf("a new body has %d of %d bytes", len(b.B), cap(b.B))
	}
}
