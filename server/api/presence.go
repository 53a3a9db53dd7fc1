package api

import (
	"context"
	"errors"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/valyala/fasthttp"

	"fanfare/registry"
	"fanfare/server"
	"fanfare/server/api/internal/problem"
	"fanfare/server/api/internal/query"
)

// LastSeen knows when users who are offline had a session last.
type LastSeen interface {
	// LastSeen returns the times of those of the users of which it knows one.
	LastSeen(ctx context.Context, users []string) (map[string]time.Time, error)
}

// maxPresence bounds the document of POST /v1/presence, in bytes: as many names as are
// allowed, half of which are escaped.
const maxPresence = server.MaxPresence * registry.MaxName * 3 / 2

// userPresence is a user in the answer of POST /v1/presence.
type userPresence struct {
	User     string    `json:"user"`
	Online   bool      `json:"online"`
	Sessions int       `json:"sessions"`
	LastSeen time.Time `json:"last_seen,omitzero"`
}

// postPresence serves POST /v1/presence: it says which of many users have a session. The
// answer has them in the order of the request.
func (a *API) postPresence(ctx *fasthttp.RequestCtx, _ names) *problem.Problem {
	body, p := a.readBody(ctx, maxPresence)
	if p != nil {
		return p
	}
	users, p := parsePresence(body.B)
	body.Free()
	if p != nil {
		return p
	}
	list, err := a.srv.Presence(a.quit, users)
	if err != nil {
		return pushProblem(err)
	}
	online := make(map[string]int, len(list.Users))
	for _, u := range list.Users {
		online[u.User] = u.Sessions
	}
	seen := a.lastSeen(users, online)
	answer := struct {
		coverage
		Users []userPresence `json:"users"`
	}{coverageOf(list.Coverage), make([]userPresence, len(users))}
	for i, user := range users {
		n := online[user]
		answer.Users[i] = userPresence{user, n > 0, n, seen[user]}
	}
	answerJSON(ctx, answer)
	return nil
}

func parsePresence(b []byte) ([]string, *problem.Problem) {
	var d struct {
		Users []string `json:"users"`
	}
	if err := json.Unmarshal(b, &d, json.RejectUnknownMembers(true)); err != nil {
		if errors.Is(err, json.ErrUnknownName) {
			return nil, problem.Errorf(400, "bad_json", "unknown field: want users alone")
		}
		return nil, problem.Document(b, err)
	}
	switch n := len(d.Users); {
	case n == 0:
		return nil, problem.Errorf(400, "bad_document", "no users: want a list of names in users")
	case n > server.MaxPresence:
		return nil, problem.Errorf(400, "bad_document", "%d users: want at most %d in a request", n, server.MaxPresence)
	}
	return d.Users, checkNames("users", d.Users)
}

// lastSeen returns the times that are known for users who are not online.
func (a *API) lastSeen(users []string, online map[string]int) map[string]time.Time {
	if a.cfg.LastSeen == nil {
		return nil
	}
	var away []string
	for _, user := range users {
		if online[user] == 0 {
			away = append(away, user)
		}
	}
	if len(away) == 0 {
		return nil
	}
	seen, err := a.cfg.LastSeen.LastSeen(a.quit, away)
	if err != nil {
		a.cfg.Logger.Warn("last seen times cannot be read", "users", len(away), "err", err)
	}
	return seen
}

var pageQuery = []string{"after", "limit"}

// defaultPage is the number of users of a page without limit.
const defaultPage = 1000

// getTopicUsers serves GET /v1/topics/{topic}/users?after=&limit=: it lists the users who
// subscribe to a topic.
func (a *API) getTopicUsers(ctx *fasthttp.RequestCtx, in names) *problem.Problem {
	args := ctx.QueryArgs()
	after := ""
	if args.Has("after") {
		var p *problem.Problem
		if after, p = query.Name(args, "after"); p != nil {
			return p
		}
	}
	limit, p := query.Limit(args, defaultPage, server.MaxPage)
	if p != nil {
		return p
	}
	list, err := a.srv.TopicUsers(a.quit, in.topic, after, limit)
	if err != nil {
		return pushProblem(err)
	}
	answer := struct {
		Topic string `json:"topic"`
		coverage
		Users []server.UserSessions `json:"users"`
		Next  string                `json:"next,omitempty"` // the parameter after of the next page
	}{Topic: in.topic, coverage: coverageOf(list.Coverage), Users: list.Users}
	if list.More {
		answer.Next = list.Users[len(list.Users)-1].User
	}
	answerJSON(ctx, answer)
	return nil
}

// getNodes serves GET /v1/nodes.
func (a *API) getNodes(ctx *fasthttp.RequestCtx, _ names) *problem.Problem {
	list := a.srv.Nodes(a.quit)
	if a.limits.Cluster == nil && len(list.Nodes) == 1 {
		list.Nodes[0].Name = a.node()
	}
	answerJSON(ctx, struct {
		coverage
		Nodes []server.NodeInfo `json:"nodes"`
	}{coverageOf(list.Coverage), list.Nodes})
	return nil
}
