package api

import (
	"cmp"
	"strings"

	"github.com/valyala/fasthttp"

	"fanfare/server"
	"fanfare/server/api/internal/problem"
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
	Part   string `json:"part"` // "store", "cluster", "revocations" or the Name of a Part
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
	for _, part := range a.cfg.Parts {
		if err := part.Ready(); err != nil {
			all = append(all, degradation{part.Name, err.Error()})
		}
	}
	return all
}

// partNames returns the names that degraded may list.
func (a *API) partNames() (names []string) {
	if a.limits.Store != nil {
		names = append(names, "store")
	}
	if a.limits.Cluster != nil {
		names = append(names, "cluster")
	}
	if a.limits.Revocations != nil {
		names = append(names, "revocations")
	}
	for _, part := range a.cfg.Parts {
		names = append(names, part.Name)
	}
	return names
}

// healthz answers that the process serves requests. With ?strict it answers 503 if
// anything is degraded.
func (a *API) healthz(ctx *fasthttp.RequestCtx, _ names) *problem.Problem {
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
			return problem.Errorf(503, "degraded", "%s", strings.Join(reasons, "; "))
		}
	}
	answerJSON(ctx, health{Status: "ok"})
	return nil
}

// wantsStrict reads ?strict, which is true without a value, too.
func wantsStrict(args *fasthttp.Args) (bool, *problem.Problem) {
	switch strict := string(args.Peek("strict")); strict {
	case "true", "1":
		return true, nil
	case "":
		return args.Has("strict"), nil
	case "false", "0":
		return false, nil
	default:
		return false, problem.Errorf(400, "bad_query", "strict is %.40q: want true or false", strict)
	}
}

// readyz answers whether a load balancer should connect clients to this server.
func (a *API) readyz(ctx *fasthttp.RequestCtx, _ names) *problem.Problem {
	if status := a.srv.Status(); status != server.Serving {
		return problem.Errorf(503, "not_ready", "the server is %s", status)
	}
	h := health{Status: "ready", Degraded: a.degraded()}
	for _, d := range h.Degraded {
		if d.Part == "store" && a.cfg.ReadyNeedsStore {
			return problem.Errorf(503, "not_ready", "store: %s", d.Reason)
		}
	}
	if list := a.limits.Revocations; list != nil && !list.Loaded() { // sessions are rejected
		return problem.Errorf(503, "not_ready", "revocations: %v", cmp.Or(list.Ready(), revoke.ErrNotLoaded))
	}
	for _, part := range a.cfg.Parts {
		if part.Usable == nil {
			continue
		}
		if err := part.Usable(); err != nil { // sessions are rejected
			return problem.Errorf(503, "not_ready", "%s: %v", part.Name, err)
		}
	}
	answerJSON(ctx, h)
	return nil
}
