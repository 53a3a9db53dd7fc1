package server

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/valyala/fasthttp"
)

// ServeFastHTTP is a fasthttp.RequestHandler. Endpoint.Identify says whose
// session it is.
func (m *Mount) ServeFastHTTP(ctx *fasthttp.RequestCtx) { m.upgradeFastHTTP(ctx, nil) }

// UpgradeFastHTTP is Upgrade for fasthttp. The session opens when the handler
// has returned, because fasthttp lets go of the connection only then.
func (m *Mount) UpgradeFastHTTP(ctx *fasthttp.RequestCtx, id Identity) error {
	return m.upgradeFastHTTP(ctx, &id)
}

func (m *Mount) upgradeFastHTTP(ctx *fasthttp.RequestCtx, preset *Identity) error {
	h := handshakes.Get().(*handshake)
	defer h.free()
	h.req.fromFastHTTP(ctx)
	a, err := m.ep.arrive(h, preset)
	if err != nil {
		m.ep.srv.refusalOf(err).serveFastHTTP(ctx)
		return err
	}
	// Nothing of ctx is in a: it dies with the handler.
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(a.hijacked)
	return nil
}

// hijacked is called on a goroutine of fasthttp's when the handler has
// returned. Unless its server was told KeepHijackedConns, fasthttp closes the
// connection and takes its buffers back when this returns.
func (a *adoption) hijacked(c net.Conn) {
	srv := a.ep.srv
	nc := c
	if inner, ok := c.(interface{ UnsafeConn() net.Conn }); ok {
		nc = inner.UnsafeConn()
	}
	// What fasthttp has read ahead comes out of c before any read of the
	// connection, and a deadline in the past keeps it to that.
	nc.SetReadDeadline(time.Unix(1, 0))
	ahead, _ := io.ReadAll(c)
	if !srv.engine.Watches(nc) {
		a.over = make(chan struct{}) // nc stays in use: keep fasthttp from closing it
	}
	a.adopt(nc, ahead)
	if a.over != nil {
		<-a.over
	}
}

// fromFastHTTP makes r what a request of fasthttp says. It is borrowed as long
// as ctx is.
func (r *Request) fromFastHTTP(ctx *fasthttp.RequestCtx) {
	in := &ctx.Request.Header
	uri := ctx.URI()
	r.method, r.version = in.Method(), in.Protocol()
	r.path, r.query = uri.PathOriginal(), uri.QueryString()
	if a, ok := ctx.RemoteAddr().(*net.TCPAddr); ok {
		ap := a.AddrPort()
		r.peer = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	for name, value := range in.All() {
		if !bytes.EqualFold(name, hostField) {
			r.headers = append(r.headers, header{name, value})
		}
	}
	if v := in.Host(); len(v) > 0 { // All has it twice, or not, as fasthttp is set
		r.headers = append(r.headers, header{hostField, v})
	}
}

var hostField = []byte("Host")

// serveFastHTTP answers a request of fasthttp.
func (r *Refusal) serveFastHTTP(ctx *fasthttp.RequestCtx) {
	ctx.Error(r.Text, r.Status) // forgets the header
	for name, value := range r.fields {
		ctx.Response.Header.Set(name, value)
	}
}
