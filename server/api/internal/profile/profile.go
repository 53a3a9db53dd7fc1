package profile

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
	"time"

	"github.com/valyala/fasthttp"

	"fanfare/server/api/internal/problem"
	"fanfare/server/api/internal/query"
)

const (
	profileDefault = 30 * time.Second
	profileMax     = 5 * time.Minute
)

// List answers with the names of the profiles.
func List(ctx *fasthttp.RequestCtx) {
	var list bytes.Buffer
	for _, p := range pprof.Profiles() {
		fmt.Fprintf(&list, "/debug/pprof/%s?debug=1\t%d\n", p.Name(), p.Count())
	}
	list.WriteString("/debug/pprof/profile?seconds=30\n/debug/pprof/trace?seconds=1\n")
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.SetBody(list.Bytes())
}

// Until says when a profile that takes time ends early.
type Until struct {
	Quit  context.Context   // the server ends
	Guard func(read func()) // runs what notices that the client leaves, and recovers its panics
}

// Serve answers with a profile.
func Serve(ctx *fasthttp.RequestCtx, name string, until Until) *problem.Problem {
	args := ctx.QueryArgs()
	timed := name == "profile" || name == "trace"
	seconds, p := query.Int(args, "seconds", int(profileDefault/time.Second), 1, int(profileMax/time.Second))
	if p != nil {
		return p
	}
	debug, p := query.Int(args, "debug", 0, 0, 2)
	if p != nil {
		return p
	}
	gc, p := query.Int(args, "gc", 0, 0, 1)
	if p != nil {
		return p
	}
	switch {
	case timed && (args.Has("debug") || args.Has("gc")):
		return problem.Errorf(400, "bad_query", "debug and gc are not for %s", name)
	case !timed && args.Has("seconds"):
		return problem.Errorf(400, "bad_query", "seconds is for profile and trace")
	}
	if timed {
		return record(ctx, name, until, time.Duration(seconds)*time.Second)
	}
	profile := pprof.Lookup(name)
	if profile == nil {
		return problem.Errorf(404, "not_found", "no such profile; /debug/pprof/ lists them")
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
		return problem.Errorf(500, "internal", "%s", err)
	}
	ctx.SetBody(out.Bytes())
	return nil
}

// record records a CPU profile or a trace for d, or until the client leaves or the server
// ends.
func record(ctx *fasthttp.RequestCtx, name string, until Until, d time.Duration) *problem.Problem {
	var out bytes.Buffer
	start, stop := pprof.StartCPUProfile, pprof.StopCPUProfile
	if name == "trace" {
		start, stop = trace.Start, trace.Stop
	}
	if err := start(&out); err != nil {
		return problem.Errorf(409, "busy", "%s", err)
	}
	defer stop()
	until.wait(ctx, d)
	stop() // stopping twice is harmless, and out is complete only now
	ctx.SetContentType("application/octet-stream")
	ctx.SetBody(out.Bytes())
	return nil
}

// wait waits for d, or until the client closes the connection or the server ends. It reads the connection, which therefore ends with this request.
func (u Until) wait(ctx *fasthttp.RequestCtx, d time.Duration) {
	// Not of ctx, which fasthttp uses again: a timer that has just expired would read it then.
	wait, cancel := context.WithTimeout(u.Quit, d)
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
		u.Guard(func() { io.Copy(io.Discard, nc) }) // clients send nothing here
	}()
	await()
	nc.SetReadDeadline(time.Unix(1, 0))
	<-left
}
