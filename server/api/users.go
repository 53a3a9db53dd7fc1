package api

import (
	"errors"
	"strconv"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"fanfare/frame"
	"fanfare/server"
	"fanfare/server/api/internal/problem"
	"fanfare/server/api/internal/query"
)

// getUsers serves GET /v1/users?prefix=&after=&limit=: it lists users who have sessions. With
// topic it lists those who subscribe to it.
func (a *API) getUsers(ctx *fasthttp.RequestCtx, _ names) *problem.Problem {
	args := ctx.QueryArgs()
	if args.Has("topic") {
		if args.Has("prefix") {
			return problem.Errorf(400, "bad_query", "prefix does not apply to the users of a topic: remove it, or topic")
		}
		return withNames((*API).getTopicUsers, "topic")(a, ctx, names{})
	}
	q, p := userList.readPage(args)
	if p != nil {
		return p
	}
	list, err := a.srv.Users(a.quit, q)
	if err != nil {
		return listProblem(err)
	}
	answer := struct {
		coverage
		Users []server.UserSessions `json:"users"`
		Next  string                `json:"next,omitempty"`
	}{coverage: coverageOf(list.Coverage), Users: list.Users}
	if list.More {
		answer.Next = userList.cursor(list.Users[len(list.Users)-1].User)
	}
	answerJSON(ctx, answer)
	return nil
}

// nodeNamed returns the name that the server knows of a node in the answer of GET /v1/nodes:
// none if there is no cluster, because then every session is of this node.
func (a *API) nodeNamed(name string) string {
	if a.limits.Cluster == nil && name == a.node() {
		return ""
	}
	return name
}

// getSessionPage serves GET /v1/users/{user}/sessions: it lists sessions of a user in the order
// in which they were opened.
func (a *API) getSessionPage(ctx *fasthttp.RequestCtx, in names) *problem.Problem {
	args := ctx.QueryArgs()
	q := server.SessionQuery{User: in.user, Node: a.nodeNamed(string(args.Peek("node"))), Dialect: string(args.Peek("dialect"))}
	for _, name := range []string{"node", "dialect"} {
		if args.Has(name) && len(args.Peek(name)) == 0 {
			return problem.Errorf(400, "bad_query", "%s is empty: give it a value, or remove it", name)
		}
	}
	var p *problem.Problem
	if args.Has("topic") {
		if q.Topic, p = query.Name(args, "topic"); p != nil {
			return p
		}
	}
	if q.After, p = sessionList.readCursor(args); p != nil {
		return p
	}
	if q.Limit, p = query.Limit(args, defaultPage, server.MaxPage); p != nil {
		return p
	}
	page, err := a.srv.UserSessionPage(a.quit, q)
	if err != nil {
		return listProblem(err)
	}
	answer := struct {
		User string `json:"user"`
		coverage
		Sessions []server.SessionDetails `json:"sessions"`
		Next     string                  `json:"next,omitempty"`
	}{User: in.user, coverage: coverageOf(page.Coverage), Sessions: page.Sessions}
	if page.Next != "" {
		answer.Next = sessionList.cursor(page.Next)
	}
	answerJSON(ctx, answer)
	return nil
}

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
