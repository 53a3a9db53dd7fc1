package api

import (
	"encoding/base64"
	"errors"

	"github.com/valyala/fasthttp"

	"fanfare/registry"
	"fanfare/server"
	"fanfare/server/api/internal/problem"
	"fanfare/server/api/internal/query"
)

// This file lists users, topics, and the sessions of a user, in pages.

// sessionQuery are the parameters of a page of a user's sessions, besides topic.
var sessionQuery = []string{"node", "dialect", "after", "limit"}

// listKind is the first byte of a cursor, so that one of another list is an error.
type listKind byte

const (
	userList    listKind = 'u'
	topicList   listKind = 't'
	sessionList listKind = 's'
)

// cursor returns the parameter after of the page that follows a key.
func (k listKind) cursor(key string) string {
	return base64.RawURLEncoding.EncodeToString(append([]byte{byte(k)}, key...))
}

// readCursor returns the key in the parameter after, empty if there is none.
func (k listKind) readCursor(args *fasthttp.Args) (string, *problem.Problem) {
	if !args.Has("after") {
		return "", nil
	}
	given := args.Peek("after")
	b, err := base64.RawURLEncoding.Strict().DecodeString(string(given))
	if err != nil || len(b) < 2 || b[0] != byte(k) {
		return "", problem.Errorf(400, "bad_query", "after is %.40q: want next of the page before, of the same list", given)
	}
	return string(b[1:]), nil
}

// readPage reads listQuery.
func (k listKind) readPage(args *fasthttp.Args) (q server.PageQuery, p *problem.Problem) {
	if q.After, p = k.readCursor(args); p != nil {
		return q, p
	}
	q.Prefix = string(args.Peek("prefix"))
	if args.Has("prefix") && q.Prefix == "" {
		return q, problem.Errorf(400, "bad_query", "prefix is empty: give it a value, or remove it")
	}
	q.Limit, p = query.Limit(args, defaultPage, server.MaxPage)
	return q, p
}

// listProblem returns the answer to a list, or to a close, that failed.
func listProblem(err error) *problem.Problem {
	switch {
	case errors.Is(err, registry.ErrName):
		return problem.Errorf(400, "bad_name", "%s", err)
	case errors.Is(err, server.ErrPage):
		return problem.Errorf(400, "bad_query", "%s", err)
	}
	return pushProblem(err)
}

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

// getTopics serves GET /v1/topics?prefix=&after=&limit=: it lists topics that have subscribers.
func (a *API) getTopics(ctx *fasthttp.RequestCtx, _ names) *problem.Problem {
	q, p := topicList.readPage(ctx.QueryArgs())
	if p != nil {
		return p
	}
	list, err := a.srv.Topics(a.quit, q)
	if err != nil {
		return listProblem(err)
	}
	answer := struct {
		coverage
		Topics []server.TopicSubscribers `json:"topics"`
		Next   string                    `json:"next,omitempty"`
	}{coverage: coverageOf(list.Coverage), Topics: list.Topics}
	if list.More {
		answer.Next = topicList.cursor(list.Topics[len(list.Topics)-1].Topic)
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
