package api

import (
	"github.com/valyala/fasthttp"

	"fanfare/server"
)

// health is the answer of /healthz and /readyz. Store and Cluster say why they are not
// available; absent if they are, or do not exist.
type health struct {
	Status  string `json:"status"`
	Store   string `json:"store,omitzero"`
	Cluster string `json:"cluster,omitzero"`
}

func (a *API) health(status string) *health {
	h := &health{Status: status}
	if st := a.limits.Store; st != nil {
		if err := st.Ready(); err != nil {
			h.Store = err.Error()
		}
	}
	if c := a.limits.Cluster; c != nil {
		if err := c.Ready(); err != nil {
			h.Cluster = err.Error()
		}
	}
	return h
}

// healthz: the process runs and answers. With ?strict everything that it needs is
// available, too.
func (a *API) healthz(ctx *fasthttp.RequestCtx, _ names) *problem {
	if !ctx.QueryArgs().Has("strict") {
		answerJSON(ctx, &health{Status: "ok"})
		return nil
	}
	h := a.health("ok")
	switch {
	case h.Store != "":
		return problemf(503, "degraded", "%s", h.Store)
	case h.Cluster != "":
		return problemf(503, "degraded", "%s", h.Cluster)
	}
	answerJSON(ctx, h)
	return nil
}

// readyz: a load balancer should connect clients to this server.
func (a *API) readyz(ctx *fasthttp.RequestCtx, _ names) *problem {
	switch a.srv.Status() {
	case server.Starting:
		return problemf(503, "not_ready", "the server is starting")
	case server.Serving:
		h := a.health("ready")
		if h.Store != "" && !a.cfg.ReadyWithoutStore {
			return problemf(503, "not_ready", "%s", h.Store)
		}
		answerJSON(ctx, h)
		return nil
	}
	return problemf(503, "not_ready", "the server is draining")
}
