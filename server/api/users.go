package api

import (
	"errors"
	"strconv"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"fanfare/frame"
	"fanfare/registry"
	"fanfare/server"
)

// getUser is GET /v1/users/{user}. That the user has no session is an answer, not an
// error.
func (a *API) getUser(ctx *fasthttp.RequestCtx, in names) *problem {
	list := a.srv.Sessions(a.quit, in.user)
	answerJSON(ctx, struct {
		User     string               `json:"user"`
		Online   bool                 `json:"online"`
		Complete bool                 `json:"complete"` // false: a node could not be asked
		Sessions []server.SessionInfo `json:"connections"`
	}{in.user, len(list.Sessions) > 0, list.Complete(), list.Sessions})
	return nil
}

// deleteUser is DELETE /v1/users/{user}?code=&reason=.
func (a *API) deleteUser(ctx *fasthttp.RequestCtx, in names) *problem {
	code, args := server.Code(frame.StatusPolicyViolation), ctx.QueryArgs()
	if given := args.Peek("code"); len(given) > 0 {
		n, err := strconv.ParseUint(string(given), 10, 16)
		if code = server.Code(n); err != nil || !frame.CloseCodeAllowed(code) {
			return problemf(400, "bad_code", "code: want 1000 to 1003, 1007 to 1014 or 3000 to 4999")
		}
	}
	reason := args.Peek("reason")
	if len(reason) > server.MaxCloseReason || !utf8.Valid(reason) {
		return problemf(400, "bad_reason", "reason: want UTF-8 of at most %d bytes", server.MaxCloseReason)
	}
	d, err := a.srv.Disconnect(a.quit, in.user, code, string(reason))
	if err != nil {
		return pushProblem(err)
	}
	return answerCount(ctx, "closed", d)
}

var notConnected = &problem{404, "not_found", "this user has no session"}

// answerCount answers with the number of sessions concerned, or that there is none.
func answerCount(ctx *fasthttp.RequestCtx, member string, d server.Delivery) *problem {
	if d.Receivers == 0 && d.Complete() {
		return notConnected
	}
	answer := map[string]any{member: d.Receivers}
	if !d.Complete() {
		answer["complete"] = false
	}
	answerJSON(ctx, answer)
	return nil
}

// getTopic is GET /v1/topics/{topic}.
func (a *API) getTopic(ctx *fasthttp.RequestCtx, in names) *problem {
	d, err := a.srv.Subscribers(a.quit, in.topic)
	if err != nil {
		return pushProblem(err)
	}
	answerJSON(ctx, struct {
		Topic       string `json:"topic"`
		Connections int    `json:"connections"`
		Complete    bool   `json:"complete"`
	}{in.topic, d.Receivers, d.Complete()})
	return nil
}

// getSubscribers is GET /v1/topics/{topic}/sessions.
func (a *API) getSubscribers(ctx *fasthttp.RequestCtx, in names) *problem {
	list := a.srv.TopicSessions(a.quit, in.topic)
	answerJSON(ctx, struct {
		Topic    string               `json:"topic"`
		Complete bool                 `json:"complete"`
		Sessions []server.SessionInfo `json:"connections"`
	}{in.topic, list.Complete(), list.Sessions})
	return nil
}

// putSubscriber is PUT /v1/topics/{topic}/users/{user}. It is for the sessions that
// the user has now.
func (a *API) putSubscriber(ctx *fasthttp.RequestCtx, in names) *problem {
	d, err := a.srv.SubscribeUser(a.quit, in.user, in.topic)
	switch {
	case errors.Is(err, registry.ErrTooManyTopics):
		return problemf(409, "too_many_topics", "a session has %d subscriptions already; %d sessions of this user subscribe to this topic", a.limits.TopicsPerSession, d.Receivers)
	case err != nil && d.Receivers == 0: // all have left meanwhile
		return notConnected
	}
	return answerCount(ctx, "connections", d)
}

// deleteSubscriber is DELETE /v1/topics/{topic}/users/{user}. A user without this
// subscription is not an error, a user without a session is.
func (a *API) deleteSubscriber(ctx *fasthttp.RequestCtx, in names) *problem {
	if list := a.srv.Sessions(a.quit, in.user); len(list.Sessions) == 0 && list.Complete() {
		return notConnected
	}
	d, err := a.srv.UnsubscribeUser(a.quit, in.user, in.topic)
	if err != nil {
		return pushProblem(err)
	}
	answer := map[string]any{"connections": d.Receivers}
	if !d.Complete() {
		answer["complete"] = false
	}
	answerJSON(ctx, answer)
	return nil
}
