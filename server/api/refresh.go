package api

import (
	"errors"

	"github.com/valyala/fasthttp"

	"fanfare/server"
)

// maxChange bounds the document that changes what a user's sessions may do.
const maxChange = 64 << 10

// refreshUser serves POST /v1/users/{user}/refresh: it changes expiry, capabilities and
// limits of the sessions that the user has now.
func (a *API) refreshUser(ctx *fasthttp.RequestCtx, in names) *problem {
	body, p := a.readBody(ctx, maxChange)
	if p != nil {
		return p
	}
	change, err := server.ParseIdentityChange(body.b)
	body.free()
	if err != nil {
		return problemf(400, "bad_document", "%s", err)
	}
	if change == (server.IdentityChange{}) {
		return problemf(400, "bad_document", "the document changes nothing: want expires, subscribe, publish, presence or limits")
	}
	d, err := a.srv.RefreshUser(a.quit, in.user, change)
	switch {
	case errors.Is(err, server.ErrInvalidCommand):
		return problemf(400, "bad_document", "%s", err)
	case err != nil:
		return pushProblem(err)
	case d.Receivers == 0 && d.Complete():
		return noSession
	}
	answerCount(ctx, "sessions", d)
	return nil
}
