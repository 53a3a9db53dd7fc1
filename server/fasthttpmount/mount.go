package fasthttpmount

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/valyala/fasthttp"

	"fanfare/server"
)

// Handler returns a handler that serves m. Endpoint.Identifier returns whose session it is.
func Handler(m *server.Mount) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) { upgrade(m, ctx, nil) }
}

// Upgrade is Handler for a program that has looked at the request itself: id tells whose
// session it is, and Endpoint.Identifier is not called. The client has its answer in any
// case. An error is a *server.Rejection.
func Upgrade(m *server.Mount, ctx *fasthttp.RequestCtx, id server.Identity) error {
	return upgrade(m, ctx, &id)
}

func upgrade(m *server.Mount, ctx *fasthttp.RequestCtx, id *server.Identity) error {
	a, err := m.Begin(contextOf(ctx), hosted(ctx), id)
	if err != nil {
		reject(ctx, err.(*server.Rejection))
		return err
	}
	// Nothing of ctx is in a: ctx is reused after the handler.
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(c net.Conn) { hijacked(a, c) })
	return nil
}

// requestContext is the context of a request. Goroutines that package context starts may ask
// it for values when fasthttp already uses the RequestCtx for the next request.
type requestContext struct {
	context.Context // ends when the fasthttp.Server shuts down
	values          map[any]any
}

func (c requestContext) Value(key any) any { return c.values[key] }

// contextOf returns the context of a request, with its user values.
func contextOf(ctx *fasthttp.RequestCtx) requestContext {
	c := requestContext{Context: ctx}
	ctx.VisitUserValuesAll(func(key, value any) {
		if c.values == nil {
			c.values = make(map[any]any)
		}
		c.values[key] = value
	})
	return c
}

// hijacked is called on a goroutine of fasthttp after the handler has returned. Unless
// the fasthttp.Server has KeepHijackedConns set, fasthttp closes the connection and
// reuses its buffers when this returns.
func hijacked(a *server.Adoption, c net.Conn) {
	nc := c
	if inner, ok := c.(interface{ UnsafeConn() net.Conn }); ok {
		nc = inner.UnsafeConn()
	}
	// c returns the bytes that fasthttp has read ahead before it reads from the connection.
	// A deadline in the past prevents the latter.
	nc.SetReadDeadline(time.Unix(1, 0))
	ahead, _ := io.ReadAll(c)
	a.Serve(nc, ahead)
}

// hosted is the request of ctx. It is borrowed until ctx is reused.
func hosted(ctx *fasthttp.RequestCtx) *server.HostedRequest {
	in := &ctx.Request.Header
	uri := ctx.URI()
	r := &server.HostedRequest{
		Method: in.Method(), Proto: in.Protocol(),
		Path: uri.PathOriginal(), RawQuery: uri.QueryString(),
		TLS: ctx.TLSConnectionState(),
		Header: func(yield func(name, value []byte) bool) {
			for name, value := range in.All() {
				if !bytes.EqualFold(name, hostField) && !yield(name, value) {
					return
				}
			}
			if v := in.Host(); len(v) > 0 { // All has it twice, or not, as fasthttp is set
				yield(hostField, v)
			}
		},
	}
	if a, ok := ctx.RemoteAddr().(*net.TCPAddr); ok {
		ap := a.AddrPort()
		r.RemoteAddr = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return r
}

var hostField = []byte("Host")

// reject answers the request.
func reject(ctx *fasthttp.RequestCtx, r *server.Rejection) {
	ctx.Error(r.Text, r.Status) // forgets the header
	for name, values := range r.Header {
		for _, v := range values {
			ctx.Response.Header.Add(name, v)
		}
	}
}
