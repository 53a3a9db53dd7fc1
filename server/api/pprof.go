package api

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

// This file has the routes of Config.Pprof, as `go tool pprof` and `go tool trace` expect
// them. They use runtime/pprof, because importing net/http/pprof would register them on
// http.DefaultServeMux of every program that embeds the server.

const (
	profileDefault = 30 * time.Second
	profileMax     = 5 * time.Minute
)

// profiles lists the profiles.
func (a *API) profiles(ctx *fasthttp.RequestCtx, _ names) *problem {
	var list bytes.Buffer
	for _, p := range pprof.Profiles() {
		fmt.Fprintf(&list, "/debug/pprof/%s?debug=1\t%d\n", p.Name(), p.Count())
	}
	list.WriteString("/debug/pprof/profile?seconds=30\n/debug/pprof/trace?seconds=1\n")
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.SetBody(list.Bytes())
	return nil
}

func (a *API) profile(ctx *fasthttp.RequestCtx, in names) *problem {
	timed := in.profile == "profile" || in.profile == "trace"
	seconds, p := queryInt(ctx, "seconds", int(profileDefault/time.Second), 1, int(profileMax/time.Second))
	if p != nil {
		return p
	}
	debug, p := queryInt(ctx, "debug", 0, 0, 2)
	if p != nil {
		return p
	}
	gc, p := queryInt(ctx, "gc", 0, 0, 1)
	if p != nil {
		return p
	}
	args := ctx.QueryArgs()
	switch {
	case timed && (args.Has("debug") || args.Has("gc")):
		return problemf(400, "bad_query", "debug and gc are not for %s", in.profile)
	case !timed && args.Has("seconds"):
		return problemf(400, "bad_query", "seconds is for profile and trace")
	}
	if timed {
		return a.recordProfile(ctx, in.profile, time.Duration(seconds)*time.Second)
	}
	profile := pprof.Lookup(in.profile)
	if profile == nil {
		return problemf(404, "not_found", "no such profile; /debug/pprof/ lists them")
	}
	if gc > 0 {
		runtime.GC()
	}
	ctx.SetContentType("application/octet-stream")
	if debug > 0 {
		ctx.SetContentType("text/plain; charset=utf-8")
	}
	var out bytes.Buffer
	if err := profile.WriteTo(&out, debug); err != nil {
		return problemf(500, "internal", "%s", err)
	}
	ctx.SetBody(out.Bytes())
	return nil
}

// recordProfile records a CPU profile or a trace for d, or until the client leaves or the
// server ends.
func (a *API) recordProfile(ctx *fasthttp.RequestCtx, name string, d time.Duration) *problem {
	var out bytes.Buffer
	start, stop := pprof.StartCPUProfile, pprof.StopCPUProfile
	if name == "trace" {
		start, stop = trace.Start, trace.Stop
	}
	if err := start(&out); err != nil {
		return problemf(409, "busy", "%s", err)
	}
	defer stop()
	a.waitWithClient(ctx, d)
	stop() // stopping twice is harmless, and out is complete only now
	ctx.SetContentType("application/octet-stream")
	ctx.SetBody(out.Bytes())
	return nil
}

// waitWithClient waits for d, or until the client closes the connection or the server
// ends. It reads the connection, which therefore ends with this request.
func (a *API) waitWithClient(ctx *fasthttp.RequestCtx, d time.Duration) {
	// Not of ctx, which fasthttp uses again: a timer that has just expired would read it then.
	wait, cancel := context.WithTimeout(a.quit, d)
	defer cancel()
	ctx.SetConnectionClose()
	nc := ctx.Conn()
	await := func() {
		select {
		case <-wait.Done():
		case <-ctx.Done(): // the server ends
		}
	}
	if nc == nil {
		await()
		return
	}
	nc.SetReadDeadline(time.Time{})
	left := make(chan struct{})
	go func() {
		defer close(left)
		defer cancel()
		a.guard("profile", func() { io.Copy(io.Discard, nc) }) // clients send nothing here
	}()
	await()
	nc.SetReadDeadline(longAgo)
	<-left
}

// queryInt returns a number from the query.
func queryInt(ctx *fasthttp.RequestCtx, name string, otherwise, low, high int) (int, *problem) {
	args := ctx.QueryArgs()
	if !args.Has(name) {
		return otherwise, nil
	}
	given := args.Peek(name)
	n, err := strconv.Atoi(string(given))
	if err != nil || n < low || n > high {
		return 0, problemf(400, "bad_query", "%s is %.40q: want %d to %d", name, given, low, high)
	}
	return n, nil
}
