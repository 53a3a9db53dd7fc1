package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"time"

	"github.com/valyala/fasthttp"

	"fanfare/server/api/internal/header"
	"fanfare/server/api/internal/problem"
	"fanfare/server/api/internal/query"
)

// serve is called by fasthttp for each request. It reads the target as the client sent it,
// because fasthttp decodes and cleans its own path, which would lose a user named "a/b" or
// "..".
func (a *API) serve(ctx *fasthttp.RequestCtx) {
	began := a.now()
	if a.leaving.Load() {
		ctx.SetConnectionClose()
	}
	m, p := a.dispatchGuarded(ctx)
	if p != nil {
		p.Answer(&ctx.Response)
	}
	setUnread(ctx, p != nil && ctx.RequestBodyStream() != nil)
	a.requests.count(m, ctx.Response.StatusCode())
	if m != nil && !m.long && !(m.waits && ctx.QueryArgs().Has("wait")) {
		a.requests.observe(m, a.now().Sub(began))
	}
}

// dispatchGuarded calls dispatch and recovers from panics, which fasthttp does not.
func (a *API) dispatchGuarded(ctx *fasthttp.RequestCtx) (m *method, p *problem.Problem) {
	defer func() {
		if v := recover(); v != nil {
			a.panicked(string(ctx.Method())+" "+string(ctx.Path()), v)
			ctx.Response.Reset()
			p = errInternal
		}
	}()
	p = a.dispatch(ctx, &m)
	return m, p
}

// guard calls f and reports whether it returned: a panic is logged and counted.
func (a *API) guard(where string, f func()) (ok bool) {
	defer func() {
		if v := recover(); v != nil {
			a.panicked(where, v)
			ok = false
		}
	}()
	f()
	return true
}

// panicked logs and counts a panic that was recovered.
func (a *API) panicked(where string, v any) {
	a.cfg.Logger.Error("panic recovered", "where", where, "panic", v, "stack", string(debug.Stack()))
	a.panics.Add(1) // last: a reader of the counter finds it in the log
}

// dispatch serves a request. It sets m if the request has a method of the table.
func (a *API) dispatch(ctx *fasthttp.RequestCtx, m **method) *problem.Problem {
	target := ctx.Request.Header.RequestURI()
	if len(target) == 0 {
		return problem.Errorf(400, "bad_request", "the request has no path")
	}
	path, _, _ := bytes.Cut(originForm(target), []byte("?"))
	var segments [maxSegments][]byte
	n := cutPath(path, segments[:])
	for i := range routes {
		r := &routes[i]
		if !r.matches(segments[:n]) || r.pprof && !a.cfg.Pprof {
			continue
		}
		*m = r.method(ctx.Method())
		if !r.open {
			if p := a.authorizeConn(ctx); p != nil {
				return p
			}
		}
		if *m == nil {
			list := r.allow()
			ctx.Response.Header.Set("Allow", list) // RFC 9110, 15.5.6
			return problem.Errorf(405, "method_not_allowed", "this path takes %s", list)
		}
		in, p := r.names(segments[:n])
		if p != nil {
			return p
		}
		if p := checkRequest(ctx, *m); p != nil {
			return p
		}
		return (*m).serve(a, ctx, in)
	}
	if p := a.authorizeConn(ctx); p != nil {
		return p
	}
	return problem.Errorf(404, "not_found", "no such path; in the names of users and topics, percent-encode all characters except letters and digits")
}

// checkRequest rejects parameters, header fields and a body that the method does not take.
func checkRequest(ctx *fasthttp.RequestCtx, m *method) *problem.Problem {
	if args := ctx.QueryArgs(); args.Len() > 0 {
		if p := query.Check(args, m.query, repeatable); p != nil {
			return p
		}
	}
	if p := header.Check(ctx, m.name == "GET"); p != nil {
		return p
	}
	if m.body {
		return nil
	}
	if stream := ctx.RequestBodyStream(); stream != nil {
		var one [1]byte
		if n, _ := stream.Read(one[:]); n > 0 {
			return problem.Errorf(400, "bad_request", "this request takes no body: parameters are in the query")
		}
	}
	return nil
}

// ListenerFile returns a duplicate of the listener's descriptor, for another process that
// serves it after this one, which makes a net.Listener of it with net.FileListener. From then
// on a Unix socket stays when this process closes it.
func (a *API) ListenerFile() (*os.File, error) {
	a.mu.Lock()
	ln := a.ln
	a.mu.Unlock()
	if u, ok := ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	f, ok := ln.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, fmt.Errorf("api: a %T has no descriptor: %w", ln, errors.ErrUnsupported)
	}
	file, err := f.File()
	if err != nil {
		return nil, fmt.Errorf("api: listener: %w", err)
	}
	return file, nil
}

// leaveCheck is how often Leave looks whether connections are left.
const leaveCheck = 20 * time.Millisecond

// Leave is for an API whose listener another process serves from now on: it accepts no
// connection, serves one more request on each that is open, ends batches after their
// current line, and answers requests that wait for a message. It returns when all connections have ended, or when ctx is done, after a
// Shutdown.
func (a *API) Leave(ctx context.Context) {
	a.leaving.Store(true)
	a.endWaits()
	a.mu.Lock()
	ln := a.ln
	var batches []*batch
	for b := range a.streams {
		batches = append(batches, b)
	}
	a.mu.Unlock()
	if ln != nil {
		ln.Close()
	}
	for _, b := range batches {
		b.interrupt()
	}
	ticker := time.NewTicker(leaveCheck)
	defer ticker.Stop()
	for a.conns.Len() > 0 && ctx.Err() == nil {
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
	a.Shutdown()
}
