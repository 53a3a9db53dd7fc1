package body

import (
	"errors"
	"io"
	"net"
	"runtime"
	"sync"

	"github.com/valyala/fasthttp"

	"fanfare/server/api/internal/problem"
)

// Body is the body of a request, or a long line of a batch, in a pooled buffer of
// 4 KiB << class.
type Body struct {
	B     []byte
	class int
	slots Slots // in which the body holds a slot; nil: it holds none
}

// Long is the length, in bytes, from which work on a body needs a CPU slot.
const Long = 64 << 10

const (
	bodyFirst   = 4 << 10
	bodyClasses = 11 // up to 4 MiB, a document by default
)

// bodies are the pools of free buffers, by class. A body of 1 MiB outgrows eight buffers; ten
// such bodies a second would keep the garbage collector busy.
var bodies [bodyClasses]sync.Pool

// New returns an empty body.
func New() *Body { return newBody(0) }

func newBody(class int) *Body {
	if class < bodyClasses {
		if b, ok := bodies[class].Get().(*Body); ok {
			return b
		}
	}
	return &Body{B: make([]byte, 0, bodyFirst<<class), class: class}
}

// Free releases b's CPU slot and its buffer. b may be nil.
func (b *Body) Free() {
	if b == nil {
		return
	}
	if b.slots != nil {
		b.slots.Release()
		b.slots = nil
	}
	if b.class < bodyClasses {
		b.B = b.B[:0]
		bodies[b.class].Put(b)
	}
}

// With appends p and returns the body, which may have moved to a larger buffer.
func (b *Body) With(p []byte) *Body {
	for len(p) > cap(b.B)-len(b.B) {
		b = b.grown()
	}
	b.B = append(b.B, p...)
	return b
}

// grown moves b to a buffer of twice the size.
func (b *Body) grown() *Body {
	next := newBody(b.class + 1)
	next.B = append(next.B, b.B...)
	b.Free()
	return next
}

// Read reads a body of at most limit bytes. For a long body it acquires a CPU slot, which is
// released when the body is freed. cut says, when the body has ended, whether it did because
// the connection had. fasthttp does not limit streamed bodies, and its Body method would read
// one of any length. The buffer grows as bytes arrive, whatever length was declared.
func Read(ctx *fasthttp.RequestCtx, limit int, slots Slots, cut func() bool) (*Body, *problem.Problem) {
	if ctx.Request.Header.ContentLength() > limit {
		return nil, problem.TooBig("the body", limit)
	}
	b := newBody(0)
	stream := ctx.RequestBodyStream()
	if stream == nil {
		return b, nil // no body
	}
	for {
		if len(b.B) == cap(b.B) {
			b = b.grown()
		}
		n, err := stream.Read(b.B[len(b.B):cap(b.B)])
		b.B = b.B[:len(b.B)+n]
		var p *problem.Problem
		switch {
		case len(b.B) > limit:
			p = problem.TooBig("the body", limit)
		case err == nil:
			continue
		case err != io.EOF || cut():
			p = Broken(err)
		default:
			if len(b.B) >= Long {
				slots.Acquire(len(b.B))
				b.slots = slots
			}
			return b, nil
		}
		b.Free()
		return nil, p
	}
}

// Broken returns the answer to a body that could not be read.
func Broken(err error) *problem.Problem {
	if IsTimeout(err) {
		return problem.Errorf(408, "timeout", "the body did not arrive in time")
	}
	return problem.Errorf(400, "bad_request", "the body is not complete")
}

// Slots bounds how many long bodies and batches are checked, parsed and copied at a time.
// It has one slot less than there are processors, which leaves one to short requests and to
// sessions. A holder must not wait for the network.
type Slots chan struct{}

// NewSlots returns free slots.
func NewSlots() Slots { return make(Slots, max(1, runtime.GOMAXPROCS(0)-1)) }

// Acquire waits for a CPU slot, to work on n bytes.
func (s Slots) Acquire(n int) {
	if n >= Long {
		runtime.Gosched() // short requests go first
	}
	s <- struct{}{}
}

// Release releases a slot.
func (s Slots) Release() { <-s }

// IsTimeout reports whether an operation of a connection took too long.
func IsTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
