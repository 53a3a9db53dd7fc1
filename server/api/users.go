package api

import (
	"errors"
	"strconv"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"fanfare/frame"
	"fanfare/registry"
	"fanfare/server"
	"fanfare/server/api/internal/problem"
)

// getUser serves GET /v1/users/{user}: it shows a user's sessions. A user without a session is
// not an error.
func (a *API) getUser(ctx *fasthttp.RequestCtx, in names) *problem.Problem {
	list := a.srv.Sessions(a.quit, in.user)
	answerJSON(ctx, struct {
		User   string `json:"user"`
		Online bool   `json:"online"`
		coverage
		Sessions []server.SessionInfo `json:"sessions"`
	}{in.user, len(list.Sessions) > 0, coverageOf(list.Coverage), list.Sessions})
	return nil
}

// maxChange bounds the document that changes what a user's sessions may do.
const maxChange = 64 << 10

// refreshUser serves POST /v1/users/{user}/refresh: it changes expiry, capabilities and
// limits of the sessions that the user has now.
func (a *API) refreshUser(ctx *fasthttp.RequestCtx, in names) *problem.Problem {
	body, p := a.readBody(ctx, maxChange)
	if p != nil {
		return p
	}
	change, err := server.ParseIdentityChange(body.B)
	body.Free()
	if err != nil {
		return problem.Errorf(400, "bad_document", "%s", err)
	}
	if change == (server.IdentityChange{}) {
		return problem.Errorf(400, "bad_document", "the document changes nothing: want expires, subscribe, publish, presence or limits")
	}
	d, err := a.srv.RefreshUser(a.quit, in.user, change)
	switch {
	case errors.Is(err, server.ErrInvalidCommand):
		return problem.Errorf(400, "bad_document", "%s", err)
	case err != nil:
		return pushProblem(err)
	case d.Receivers == 0 && d.Complete():
		return noSession
	}
	answerCount(ctx, "sessions", d)
	return nil
}

// getSessions serves GET /v1/sessions?user= or ?topic=, and the pages of a user's sessions, which
// have a limit.
func (a *API) getSessions(ctx *fasthttp.RequestCtx, _ names) *problem.Problem {
	args := ctx.QueryArgs()
	if args.Has("limit") {
		return withNames((*API).getSessionPage, "user")(a, ctx, names{})
	}
	for _, name := range sessionQuery {
		if args.Has(name) {
			return problem.Errorf(400, "bad_query", "%s is for pages of a user's sessions: say limit, or remove it", name)
		}
	}
	if args.Has("user") == args.Has("topic") {
		return problem.Errorf(400, "bad_query", "want one of the parameters user and topic")
	}
	if args.Has("user") {
		return withNames((*API).getUser, "user")(a, ctx, names{})
	}
	return withNames((*API).getSubscribers, "topic")(a, ctx, names{})
}

// readClose reads closeQuery.
func readClose(args *fasthttp.Args) (code server.Code, reason string, p *problem.Problem) {
	code = server.Code(frame.StatusPolicyViolation)
	if args.Has("code") {
		given := args.Peek("code")
		n, err := strconv.ParseUint(string(given), 10, 16)
		if code = server.Code(n); err != nil || !frame.CloseCodeAllowed(code) {
			return 0, "", badCode(string(given))
		}
	}
	reason = string(args.Peek("reason"))
	return code, reason, checkReason(reason)
}

func badCode(given string) *problem.Problem {
	return problem.Errorf(400, "bad_code", "code is %.40q: want 1000 to 1003, 1007 to 1014 or 3000 to 4999", given)
}

func checkReason(reason string) *problem.Problem {
	if len(reason) > server.MaxCloseReason || !utf8.ValidString(reason) {
		return problem.Errorf(400, "bad_reason", "reason has %d bytes: want UTF-8 of at most %d bytes", len(reason), server.MaxCloseReason)
	}
	return nil
}

// deleteUser serves DELETE /v1/users/{user}?code=&reason=: it closes a user's sessions.
func (a *API) deleteUser(ctx *fasthttp.RequestCtx, in names) *problem.Problem {
	code, reason, p := readClose(ctx.QueryArgs())
	if p != nil {
		return p
	}
	d, err := a.srv.Disconnect(a.quit, in.user, code, reason)
	if err != nil {
		return pushProblem(err)
	}
	if d.Receivers == 0 && d.Complete() {
		return noSession
	}
	answerCount(ctx, "closed", d)
	return nil
}

var noSession = problem.Errorf(404, "not_found", "the user has no session")

// answerCount answers with the number of sessions concerned, as appendDelivery does.
func answerCount(ctx *fasthttp.RequestCtx, field string, d server.Delivery) {
	ctx.SetContentType(problem.TypeJSON)
	ctx.SetBody(append(appendCount([]byte{'{'}, field, d), "}\n"...))
}

// getTopic serves GET /v1/topics/{topic}: it counts the subscribers.
func (a *API) getTopic(ctx *fasthttp.RequestCtx, in names) *problem.Problem {
	d, err := a.srv.Subscribers(a.quit, in.topic)
	if err != nil {
		return pushProblem(err)
	}
	answerJSON(ctx, struct {
		Topic       string `json:"topic"`
		Subscribers int    `json:"subscribers"`
		coverage
	}{in.topic, d.Receivers, coverageOf(d.Coverage)})
	return nil
}

// getSubscribers serves GET /v1/topics/{topic}/sessions.
func (a *API) getSubscribers(ctx *fasthttp.RequestCtx, in names) *problem.Problem {
	list := a.srv.TopicSessions(a.quit, in.topic)
	answerJSON(ctx, struct {
		Topic string `json:"topic"`
		coverage
		Sessions []server.SessionInfo `json:"sessions"`
	}{in.topic, coverageOf(list.Coverage), list.Sessions})
	return nil
}

// putSubscriber serves PUT /v1/topics/{topic}/users/{user}: it subscribes the sessions that
// the user has now.
func (a *API) putSubscriber(ctx *fasthttp.RequestCtx, in names) *problem.Problem {
	d, err := a.srv.SubscribeUser(a.quit, in.user, in.topic)
	switch {
	case errors.Is(err, registry.ErrTooManyTopics):
		return problem.Errorf(409, "too_many_topics", "a session has %d subscriptions, its limit; %d sessions of this user subscribe to the topic now", a.srv.Config().TopicsPerSession, d.Receivers)
	case errors.Is(err, server.ErrTooBig), errors.Is(err, server.ErrInvalidCommand):
		return pushProblem(err)
	case d.Receivers == 0 && d.Complete(): // if err is not nil, the sessions have ended meanwhile
		return noSession
	}
	answerCount(ctx, "sessions", d)
	return nil
}

// deleteSubscriber serves DELETE /v1/topics/{topic}/users/{user}. A user without a session is
// an error; a user whose sessions do not subscribe to the topic is not.
func (a *API) deleteSubscriber(ctx *fasthttp.RequestCtx, in names) *problem.Problem {
	if list := a.srv.Sessions(a.quit, in.user); len(list.Sessions) == 0 && list.Complete() {
		return noSession
	}
	d, err := a.srv.UnsubscribeUser(a.quit, in.user, in.topic)
	if err != nil {
		return pushProblem(err)
	}
	answerCount(ctx, "sessions", d)
	return nil
}
