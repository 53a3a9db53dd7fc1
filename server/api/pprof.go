package api

import (
	"bytes"
	"fmt"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
	"time"

	"github.com/valyala/fasthttp"
)

// The routes of Config.Pprof, as `go tool pprof` and `go tool trace` know them. They
// stand on runtime/pprof, because importing net/http/pprof would put them on
// http.DefaultServeMux of every program that embeds the server.

const (
	profileDefault = 30 * time.Second
	profileMost    = 5 * time.Minute
)

// profiles lists what there is.
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
	args := ctx.QueryArgs()
	var out bytes.Buffer
	ctx.SetContentType("application/octet-stream")
	switch in.profile {
	case "profile":
		if err := pprof.StartCPUProfile(&out); err != nil {
			return problemf(409, "busy", "%s", err)
		}
		lasting(ctx)
		pprof.StopCPUProfile()
	case "trace":
		if err := trace.Start(&out); err != nil {
			return problemf(409, "busy", "%s", err)
		}
		lasting(ctx)
		trace.Stop()
	default:
		p := pprof.Lookup(in.profile)
		if p == nil {
			return problemf(404, "not_found", "there is no such profile")
		}
		if args.GetBool("gc") {
			runtime.GC()
		}
		debug := args.GetUintOrZero("debug")
		if debug > 0 {
			ctx.SetContentType("text/plain; charset=utf-8")
		}
		if err := p.WriteTo(&out, debug); err != nil {
			return problemf(500, "internal", "%s", err)
		}
	}
	ctx.SetBody(out.Bytes())
	return nil
}

// lasting waits for as many seconds as are asked for, or until the server ends.
func lasting(ctx *fasthttp.RequestCtx) {
	d := profileDefault
	if n := ctx.QueryArgs().GetUintOrZero("seconds"); n > 0 {
		d = time.Duration(min(n, int(profileMost/time.Second))) * time.Second
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
