package server

import "github.com/valyala/fasthttp"

// healthz: the process lives and answers.
func (a *api) healthz(ctx *fasthttp.RequestCtx, _ names) *problem {
	ctx.SetContentType(typeJSON)
	ctx.SetBodyString(`{"status":"ok"}` + "\n")
	return nil
}

// readyz: new connections are welcome. A load balancer looks elsewhere when not.
func (a *api) readyz(ctx *fasthttp.RequestCtx, _ names) *problem {
	switch a.srv.status.Load() {
	case starting:
		return problemf(503, "not_ready", "the server is starting")
	case serving:
		if u := a.srv.unread; u != nil {
			if err := u.store.Ready(); err != nil {
				return problemf(503, "not_ready", "%s", err)
			}
		}
		ctx.SetContentType(typeJSON)
		ctx.SetBodyString(`{"status":"ready"}` + "\n")
		return nil
	}
	return problemf(503, "not_ready", "the server is draining")
}
