package server

import (
	"errors"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"fanfare/frame"
	"fanfare/registry"
)

// connectionInfo is one connection of a user.
type connectionInfo struct {
	ID          uint64    `json:"id"`             // of its node
	Node        string    `json:"node,omitempty"` // if there are several
	RemoteAddr  string    `json:"remote_addr"`    // empty for a Unix socket
	Opened      time.Time `json:"opened"`
	Topics      []string  `json:"topics"`
	QueuedBytes int       `json:"queued_bytes"`
	Protocol    string    `json:"protocol"`
}

// getUser is GET /v1/users/{user}. Nobody being here is an answer, not an error.
func (a *api) getUser(ctx *fasthttp.RequestCtx, in names) *problem {
	answer := struct {
		User        string           `json:"user"`
		Online      bool             `json:"online"`
		Connections []connectionInfo `json:"connections"`
	}{User: in.user, Connections: a.srv.connectionsEverywhere(a.srv.quit, in.user)}
	slices.SortFunc(answer.Connections, func(x, y connectionInfo) int { return x.Opened.Compare(y.Opened) })
	answer.Online = len(answer.Connections) > 0
	answerJSON(ctx, answer)
	return nil
}

// connectionsOf are those of a user to this node.
func (srv *Server) connectionsOf(user string) []connectionInfo {
	all := []connectionInfo{}
	for _, s := range srv.Connections(user) {
		if s.phase() != open {
			continue // it would get no message any more
		}
		info := connectionInfo{
			ID:          s.ID(),
			Opened:      s.Opened().UTC(),
			Topics:      s.Topics(),
			QueuedBytes: s.Queued(),
			Protocol:    s.Protocol(),
		}
		if srv.nodes != nil {
			info.Node = srv.nodes.routes.Self()
		}
		if peer := s.RemoteAddr(); peer.IsValid() {
			info.RemoteAddr = peer.String()
		}
		if info.Topics == nil {
			info.Topics = []string{}
		}
		slices.Sort(info.Topics)
		all = append(all, info)
	}
	return all
}

// maxReason is what a close frame has room for, RFC 6455 sections 5.5 and 5.5.1.
const maxReason = 125 - 2

// deleteUser is DELETE /v1/users/{user}?code=&reason=.
func (a *api) deleteUser(ctx *fasthttp.RequestCtx, in names) *problem {
	// Unlike 1001 and 1013, 1008 does not ask a client to reconnect.
	code, args := frame.StatusPolicyViolation, ctx.QueryArgs()
	if given := args.Peek("code"); len(given) > 0 {
		n, err := strconv.ParseUint(string(given), 10, 16)
		if code = Code(n); err != nil || !frame.CloseCodeAllowed(code) {
			return problemf(400, "bad_code", "code: want 1000 to 1003, 1007 to 1014 or 3000 to 4999")
		}
	}
	reason := args.Peek("reason")
	if len(reason) > maxReason || !utf8.Valid(reason) {
		return problemf(400, "bad_reason", "reason: want UTF-8 of at most %d bytes", maxReason)
	}
	n := a.srv.kickEverywhere(in.user, code, string(reason))
	if n == 0 {
		return nobody
	}
	answerJSON(ctx, map[string]int{"closed": n})
	return nil
}

var nobody = &problem{404, "not_found", "no connection of this user is here"}

// getTopic is GET /v1/topics/{topic}.
func (a *api) getTopic(ctx *fasthttp.RequestCtx, in names) *problem {
	answerJSON(ctx, struct {
		Topic       string `json:"topic"`
		Connections int    `json:"connections"`
	}{in.topic, a.srv.followersEverywhere(in.topic)})
	return nil
}

// putFollower is PUT /v1/topics/{topic}/users/{user}. It is for the connections that
// the user has now.
func (a *api) putFollower(ctx *fasthttp.RequestCtx, in names) *problem {
	n, err := a.srv.subscribeEverywhere(in.user, in.topic)
	switch {
	case errors.Is(err, registry.ErrTooManyTopics):
		return problemf(409, "too_many_topics", "a connection follows %d topics already; %d of this user follow this one", a.srv.cfg.TopicsPerSession, n)
	case n == 0: // or all have left meanwhile
		return nobody
	}
	answerJSON(ctx, map[string]int{"connections": n})
	return nil
}

// deleteFollower is DELETE /v1/topics/{topic}/users/{user}. That none followed is
// fine: the topic is followed by none in the end.
func (a *api) deleteFollower(ctx *fasthttp.RequestCtx, in names) *problem {
	if len(a.srv.connectionsEverywhere(a.srv.quit, in.user)) == 0 {
		return nobody
	}
	answerJSON(ctx, map[string]int{"connections": a.srv.unsubscribeEverywhere(in.user, in.topic)})
	return nil
}
