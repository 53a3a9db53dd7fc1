package api

import (
	"github.com/valyala/fasthttp"

	"fanfare/server"
)

// healthz: the process lives and answers.
func (a *API) healthz(ctx *fasthttp.RequestCtx, _ names) *problem {
	ctx.SetContentType(typeJSON)
	ctx.SetBodyString(`{"status":"ok"}` + "\n")
	return nil
}

// readyz: new connections are welcome. A load balancer looks elsewhere when not.
func (a *API) readyz(ctx *fasthttp.RequestCtx, _ names) *problem {
	switch a.srv.Status() {
	case server.Starting:
		return problemf(503, "not_ready", "the server is starting")
	case server.Serving:
		if st := a.limits.Store; st != nil {
			if err := st.Ready(); err != nil {
				return problemf(503, "not_ready", "%s", err)
			}
		}
		ctx.SetContentType(typeJSON)
		ctx.SetBodyString(`{"status":"ready"}` + "\n")
		return nil
	}
	return problemf(503, "not_ready", "the server is draining")
}
