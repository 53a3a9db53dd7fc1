package api

import (
	"github.com/valyala/fasthttp"

	"fanfare/server"
	"fanfare/server/store"
)

// getInbox serves GET /v1/users/{user}/inbox: it lists stored messages after an offset, by
// default after the last acknowledged one. It acknowledges nothing.
func (a *API) getInbox(ctx *fasthttp.RequestCtx, in names) *problem {
	st, box := a.limits.Store, store.Box{User: in.user}
	if st == nil {
		return storedProblem(server.ErrNoStore)
	}
	q, wait, p := readHistoryQuery(ctx.QueryArgs())
	if p != nil {
		return p
	}
	acked, _, err := st.Acked(a.quit, box, in.user)
	if err != nil {
		return readProblem(err)
	}
	if !ctx.QueryArgs().Has("after") {
		q.After = acked
	}
	h, p := a.messages(box, q, wait)
	if p != nil {
		return p
	}
	answerJSON(ctx, struct {
		User  string `json:"user"`
		Epoch string `json:"epoch"`
		Acked uint64 `json:"acked"` // when the request came
		storedPage
	}{in.user, h.Epoch, acked, pageOf(&h)})
	return nil
}

// deleteInbox serves DELETE /v1/users/{user}/inbox, also when the disk is full, because it
// frees space.
func (a *API) deleteInbox(ctx *fasthttp.RequestCtx, in names) *problem {
	if a.limits.Store == nil {
		return storedProblem(server.ErrNoStore)
	}
	n, err := a.srv.Purge(a.quit, store.Box{User: in.user})
	if err != nil {
		return readProblem(err)
	}
	answerJSON(ctx, map[string]uint64{"deleted": n})
	return nil
}
