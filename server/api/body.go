package api

import (
	"errors"
	"io"
	"net"
	"runtime"
	"sync"

	"github.com/valyala/fasthttp"
)

// body is that of a request, or a long line of a batch, in a pooled buffer of
// 4 KiB << class.
type body struct {
	b     []byte
	class int
	slots cpuSlots // of which it holds one; nil: none
}

const (
	bodyFirst   = 4 << 10
	bodyClasses = 11 // up to 4 MiB, a document by default
)

// bodies are those that are free, by class: a body of 1 MiB must not leave all that
// it has outgrown to the collector, ten of them a second kept it busy.
var bodies [bodyClasses]sync.Pool

func newBody(class int) *body {
	if class < bodyClasses {
		if b, ok := bodies[class].Get().(*body); ok {
			return b
		}
	}
	return &body{b: make([]byte, 0, bodyFirst<<class), class: class}
}

// free releases b's CPU slot and its buffer. b may be nil.
func (b *body) free() {
	if b == nil {
		return
	}
	if b.slots != nil {
		b.slots.release()
		b.slots = nil
	}
	if b.class < bodyClasses {
		b.b = b.b[:0]
		bodies[b.class].Put(b)
	}
}

// with appends p and returns the body, perhaps in a larger buffer.
func (b *body) with(p []byte) *body {
	for len(p) > cap(b.b)-len(b.b) {
		b = b.grown()
	}
	b.b = append(b.b, p...)
	return b
}

// grown returns b in a buffer of twice the size.
func (b *body) grown() *body {
	next := newBody(b.class + 1)
	next.b = append(next.b, b.b...)
	b.free()
	return next
}

// cpuSlots bound the CPU that long bodies and batches take to check, parse and copy:
// some milliseconds for each MiB. There is one slot less than processors, so that one
// is left to requests that need little. A holder must not wait for the network.
type cpuSlots chan struct{}

func newCPUSlots() cpuSlots { return make(cpuSlots, max(1, runtime.GOMAXPROCS(0)-1)) }

// acquire waits for a CPU slot, to work on n bytes.
func (s cpuSlots) acquire(n int) {
	if n >= stretch {
		runtime.Gosched() // see conn.Read
	}
	s <- struct{}{}
}

func (s cpuSlots) release() { <-s }

// readBody reads a body of at most limit bytes, and acquires a CPU slot for it, until it
// is freed, if it is long. fasthttp's own limit does not hold for streamed bodies, and its
// Body method would read one of any length. The buffer grows as bytes arrive, whatever
// length was declared.
func (a *API) readBody(ctx *fasthttp.RequestCtx, limit int) (*body, *problem) {
	if ctx.Request.Header.ContentLength() > limit {
		return nil, tooBig("the body", limit)
	}
	b := newBody(0)
	stream := ctx.RequestBodyStream()
	if stream == nil {
		return b, nil // there is none
	}
	for {
		if len(b.b) == cap(b.b) {
			b = b.grown()
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
			if len(b.b) >= stretch {
				a.slots.acquire(len(b.b))
				b.slots = a.slots
			}
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
