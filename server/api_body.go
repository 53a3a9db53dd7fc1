package server

import (
	"errors"
	"io"
	"net"
	"sync"

	"github.com/valyala/fasthttp"
)

// body is that of a request, in a pooled buffer.
type body struct{ b []byte }

var bodies = sync.Pool{New: func() any { return &body{make([]byte, 0, bodyFirst)} }}

const (
	bodyFirst = 4 << 10
	bodyKeep  = 256 << 10
)

func (b *body) free() {
	if cap(b.b) <= bodyKeep {
		b.b = b.b[:0]
		bodies.Put(b)
	}
}

// readBody reads a body of at most limit bytes. fasthttp's own limit does not hold
// for streamed bodies, and its Body method would read one of any length. The buffer
// grows as bytes arrive, whatever length was declared.
func readBody(ctx *fasthttp.RequestCtx, limit int) (*body, *problem) {
	if ctx.Request.Header.ContentLength() > limit {
		return nil, tooBig("the body", limit)
	}
	b := bodies.Get().(*body)
	stream := ctx.RequestBodyStream()
	if stream == nil {
		return b, nil // there is none
	}
	for {
		if len(b.b) == cap(b.b) {
			b.b = append(b.b, 0)[:len(b.b)]
		}
		n, err := stream.Read(b.b[len(b.b):cap(b.b)])
		b.b = b.b[:len(b.b)+n]
		var p *problem
		switch {
		case len(b.b) > limit:
			p = tooBig("the body", limit)
		case err == nil:
			continue
		case err != io.EOF || cutOff(ctx):
			p = brokenBody(err)
		default:
			return b, nil
		}
		b.free()
		return nil, p
	}
}

// cutOff tells whether the end of a body was that of the connection.
func cutOff(ctx *fasthttp.RequestCtx) bool { return connOf(ctx).ended }

func tooBig(what string, limit int) *problem {
	return problemf(413, "too_big", "%s is longer than %d bytes", what, limit)
}

func brokenBody(err error) *problem {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return problemf(408, "timeout", "the body did not come in time")
	}
	return problemf(400, "bad_request", "the body is not complete")
}
