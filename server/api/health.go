package api

import (
	"cmp"
	"strings"

	"github.com/valyala/fasthttp"

	"fanfare/server"
	"fanfare/server/revoke"
)

// health is the answer of /healthz and /readyz.
type health struct {
	Status   string        `json:"status"`
	Degraded []degradation `json:"degraded,omitempty"`
}

// degradation is a part of the server that does not work, while live messages to the
// sessions of this node do.
type degradation struct {
	Part   string `json:"part"` // "store", "cluster" or "revocations"
	Reason string `json:"reason"`
}

// degraded lists the parts that are not available.
func (a *API) degraded() (all []degradation) {
	if st := a.limits.Store; st != nil {
		if err := st.Ready(); err != nil {
			all = append(all, degradation{"store", err.Error()})
		}
	}
	if c := a.limits.Cluster; c != nil {
		if err := c.Ready(); err != nil {
			all = append(all, degradation{"cluster", err.Error()})
		}
	}
	if list := a.limits.Revocations; list != nil {
		if err := list.Ready(); err != nil {
			all = append(all, degradation{"revocations", err.Error()})
		}
	}
	return all
}

// healthz answers that the process serves requests. With ?strict it answers 503 if
// anything is degraded.
func (a *API) healthz(ctx *fasthttp.RequestCtx, _ names) *problem {
	strict, p := wantsStrict(ctx.QueryArgs())
	if p != nil {
		return p
	}
	if strict {
		var reasons []string
		for _, d := range a.degraded() {
			reasons = append(reasons, d.Part+": "+d.Reason)
		}
		if len(reasons) > 0 {
			return problemf(503, "degraded", "%s", strings.Join(reasons, "; "))
		}
	}
	answerJSON(ctx, health{Status: "ok"})
	return nil
}

// wantsStrict reads ?strict, which is true without a value, too.
func wantsStrict(args *fasthttp.Args) (bool, *problem) {
	switch strict := string(args.Peek("strict")); strict {
	case "true", "1":
		return true, nil
	case "":
		return args.Has("strict"), nil
	case "false", "0":
		return false, nil
	default:
		return false, problemf(400, "bad_query", "strict is %.40q: want true or false", strict)
	}
}

// readyz answers whether a load balancer should connect clients to this server.
func (a *API) readyz(ctx *fasthttp.RequestCtx, _ names) *problem {
	if status := a.srv.Status(); status != server.Serving {
		return problemf(503, "not_ready", "the server is %s", status)
	}
	h := health{Status: "ready", Degraded: a.degraded()}
	for _, d := range h.Degraded {
		if d.Part == "store" && a.cfg.ReadyNeedsStore {
			return problemf(503, "not_ready", "store: %s", d.Reason)
		}
	}
	if list := a.limits.Revocations; list != nil && !list.Loaded() { // sessions are rejected
		return problemf(503, "not_ready", "revocations: %v", cmp.Or(list.Ready(), revoke.ErrNotLoaded))
	}
	answerJSON(ctx, h)
	return nil
}
