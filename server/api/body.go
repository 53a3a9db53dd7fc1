package api

import (
	"io"
	"runtime"
	"sync"

	"github.com/valyala/fasthttp"
)

// body is the body of a request, or a long line of a batch, in a pooled buffer of
// 4 KiB << class.
type body struct {
	b     []byte
	class int
	slots cpuSlots // in which the body holds a slot; nil: it holds none
}

const (
	bodyFirst   = 4 << 10
	bodyClasses = 11 // up to 4 MiB, a document by default
)

// bodies are the pools of free buffers, by class. A body of 1 MiB outgrows eight buffers; ten
// such bodies a second would keep the garbage collector busy.
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

// with appends p and returns the body, which may have moved to a larger buffer.
func (b *body) with(p []byte) *body {
	for len(p) > cap(b.b)-len(b.b) {
		b = b.grown()
	}
	b.b = append(b.b, p...)
	return b
}

// grown moves b to a buffer of twice the size.
func (b *body) grown() *body {
	next := newBody(b.class + 1)
	next.b = append(next.b, b.b...)
	b.free()
	return next
}

// readBody reads a body of at most limit bytes. For a long body it acquires a CPU slot, which
// is released when the body is freed. fasthttp does not limit streamed bodies, and its Body
// method would read one of any length. The buffer grows as bytes arrive, whatever length was
// declared.
func (a *API) readBody(ctx *fasthttp.RequestCtx, limit int) (*body, *problem) {
	if ctx.Request.Header.ContentLength() > limit {
		return nil, tooBig("the body", limit)
	}
	b := newBody(0)
	stream := ctx.RequestBodyStream()
	if stream == nil {
		return b, nil // no body
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

// cutOff reports whether a body ended because the connection did.
func cutOff(ctx *fasthttp.RequestCtx) bool {
	c := connOf(ctx)
	return c != nil && c.ended
}

func tooBig(what string, limit int) *problem {
	return problemf(413, "too_big", "%s is longer than %d bytes", what, limit)
}

func brokenBody(err error) *problem {
	if isTimeout(err) {
		return problemf(408, "timeout", "the body did not arrive in time")
	}
	return problemf(400, "bad_request", "the body is not complete")
}

// cpuSlots bounds how many long bodies and batches are checked, parsed and copied at a time.
// It has one slot less than there are processors, which leaves one to short requests and to
// sessions. A holder must not wait for the network.
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
