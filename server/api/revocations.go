package api

import (
	"errors"

	"github.com/valyala/fasthttp"

	"fanfare/server"
	"fanfare/server/api/internal/problem"
	"fanfare/server/revoke"
	"fanfare/server/store"
)

// maxRevocation bounds the document that revokes: two names of 1 KiB, escaped.
const maxRevocation = 16 << 10

// postRevocation serves POST /v1/revocations: it revokes a user, a token, or what was issued
// before a time, and closes the sessions concerned.
func (a *API) postRevocation(ctx *fasthttp.RequestCtx, _ names) *problem.Problem {
	if a.limits.Revocations == nil {
		return revocationProblem(server.ErrNoRevocations)
	}
	body, p := a.readBody(ctx, maxRevocation)
	if p != nil {
		return p
	}
	e, err := revoke.Parse(body.B)
	body.Free()
	if err != nil {
		return revocationProblem(err)
	}
	r, err := a.srv.Revoke(a.quit, e)
	if err != nil {
		return revocationProblem(err)
	}
	answer := append([]byte(`{"revocation":`), r.Encode()...)
	answer = append(answer, `,"stored":`...)
	if r.Stored {
		answer = append(answer, "true,"...)
	} else {
		answer = append(answer, "false,"...)
	}
	ctx.SetContentType(problem.TypeJSON)
	ctx.SetBody(append(appendCount(answer, "closed", r.Delivery), "}\n"...))
	return nil
}

// getRevocations serves GET /v1/revocations: it lists what is in force.
func (a *API) getRevocations(ctx *fasthttp.RequestCtx, _ names) *problem.Problem {
	list := a.limits.Revocations
	if list == nil {
		return revocationProblem(server.ErrNoRevocations)
	}
	all, err := list.Entries()
	if err != nil {
		return revocationProblem(err)
	}
	answerJSON(ctx, struct {
		Revocations []revoke.Entry `json:"revocations"`
		Stored      bool           `json:"stored"`
	}{all, list.Stored()})
	return nil
}

// deleteRevocation serves DELETE /v1/revocations?id=.
func (a *API) deleteRevocation(ctx *fasthttp.RequestCtx, _ names) *problem.Problem {
	id := string(ctx.QueryArgs().Peek("id"))
	if id == "" {
		return problem.Errorf(400, "bad_query", "the parameter id is missing: want the id of a revocation")
	}
	c, err := a.srv.Unrevoke(a.quit, id)
	if err != nil {
		return revocationProblem(err)
	}
	answerCount(ctx, "deleted", server.Delivery{Receivers: 1, Coverage: c})
	return nil
}

// revocationProblem returns the answer to a request about revocations that failed.
func revocationProblem(err error) *problem.Problem {
	switch {
	case errors.Is(err, server.ErrNoRevocations):
		return problem.Errorf(501, "no_revocations", "the server keeps no revocations: it was started without an age for them")
	case errors.Is(err, revoke.ErrInvalid):
		return problem.Errorf(400, "bad_document", "%s", err)
	case errors.Is(err, revoke.ErrNotFound):
		return problem.Errorf(404, "not_found", "no revocation has this id")
	case errors.Is(err, revoke.ErrFull):
		return problem.Errorf(507, "revocations_full", "%s", err)
	case errors.Is(err, store.ErrDiskFull):
		return problem.Errorf(507, "disk_full", "%s", err)
	}
	return problem.Errorf(503, "unavailable", "the revocations may not have changed, repeat the request: %s", err)
}
