package api

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"fanfare/server"
	"fanfare/server/api/internal/problem"
	"fanfare/server/api/internal/query"
	"fanfare/server/where"
)

// This file reads from the query which sessions a push leaves out, and over which time it is
// spread.

var (
	// liveQuery are the parameters that narrow a push, and options of its message. repeatable
	// are parameters that may be repeated, see query.Check.
	liveQuery  = []string{"exclude_user", "exclude_session", "where", "conflate", "rate", "receipt"}
	repeatable = []string{"exclude_user", "exclude_session", "name[]"}
	// paceQuery are the parameters of a paced broadcast.
	paceQuery = []string{"over", "key"}
)

// narrow reads which sessions a push leaves out into an audience, and checks it.
func narrow(args *fasthttp.Args, to *server.Audience) *problem.Problem {
	if args.Len() == 0 {
		return nil // most requests
	}
	to.ExcludeUsers = query.All(args, "exclude_user")
	to.ExcludeSessions = query.All(args, "exclude_session")
	if args.Has("where") {
		var p *problem.Problem
		if to.Where, p = parseWhere(string(args.Peek("where"))); p != nil {
			return p
		}
	}
	if err := to.Check(); err != nil {
		return audienceProblem("bad_query", err)
	}
	return nil
}

// parseWhere parses an expression about labels.
func parseWhere(text string) (*where.Expr, *problem.Problem) {
	e, err := where.Parse(text)
	if err != nil {
		return nil, problem.Errorf(400, "bad_where", "where: %s", err)
	}
	return e, nil
}

// audienceProblem returns the answer to an error that wraps server.ErrAudience.
func audienceProblem(code string, err error) *problem.Problem {
	return problem.Errorf(400, code, "%s", strings.TrimPrefix(err.Error(), server.ErrAudience.Error()+": "))
}

// notNarrowed rejects a push of a stored message that would leave out sessions, or has
// options of a live message: a replay knows nothing of them.
func notNarrowed(args *fasthttp.Args, more ...string) *problem.Problem {
	for name := range args.All() {
		if slices.Contains(liveQuery, string(name)) || slices.Contains(more, string(name)) {
			return problem.Errorf(400, "bad_query", "%s does not apply to a stored message: remove it, or durable", name)
		}
	}
	return nil
}

// deliver sends the body to an audience, at once or paced.
func (a *API) deliver(ctx *fasthttp.RequestCtx, to server.Audience) *problem.Problem {
	args := ctx.QueryArgs()
	if p := narrow(args, &to); p != nil {
		return p
	}
	pace, paced, p := readPace(args)
	if p != nil {
		return p
	}
	o, p := readOptions(args)
	if p != nil {
		return p
	}
	message, p := a.message(ctx, o)
	if p != nil {
		return p
	}
	if !paced {
		d, err := a.srv.Deliver(a.quit, to, message)
		return answerDelivery(ctx, delivered{d, message.Receipt()}, err)
	}
	d, err := a.srv.StartPaced(a.quit, to, message, pace)
	return answerPaced(ctx, d, message.Receipt(), err)
}

// readPace reads paceQuery. It reports whether the push is paced.
func readPace(args *fasthttp.Args) (pace server.Pace, paced bool, p *problem.Problem) {
	if !args.Has("over") {
		if args.Has("key") {
			return pace, false, problem.Errorf(400, "bad_query", "key is for paced broadcasts: say over, or remove it")
		}
		return pace, false, nil
	}
	if pace.Over, p = parseOver("bad_query", string(args.Peek("over"))); p != nil {
		return pace, false, p
	}
	if pace.Key = string(args.Peek("key")); args.Has("key") && pace.Key == "" {
		return pace, false, problem.Errorf(400, "bad_query", "key is empty: give it a value, or remove it")
	}
	return pace, true, nil
}

// parseOver reads the time of a paced broadcast or close.
func parseOver(code, given string) (time.Duration, *problem.Problem) {
	text := given
	if text != "" && strings.Trim(text, "0123456789") == "" {
		text += "s"
	}
	over, err := time.ParseDuration(text)
	if err != nil || over < server.MinPace || over > server.MaxPace {
		return 0, problem.Errorf(400, code, "over is %.40q: want a time from 100ms to 1h, like 90s or 10m, or a number of seconds", given)
	}
	return over, nil
}

// pacedAnswer describes a paced broadcast.
type pacedAnswer struct {
	server.PacedBroadcast
	Receipt string `json:"receipt,omitempty"` // where it is started
	coverage
}

// answerPaced answers with a paced broadcast.
func answerPaced(ctx *fasthttp.RequestCtx, d server.PacedDelivery, receipt string, err error) *problem.Problem {
	switch {
	case errors.Is(err, server.ErrAudience):
		return audienceProblem("bad_query", err)
	case errors.Is(err, server.ErrManyPaced):
		return problem.Errorf(429, "too_many_broadcasts", "%d paced broadcasts are under way: cancel one, or give those about the same thing the same key", server.MaxPaced)
	case errors.Is(err, server.ErrNoPaced) && !d.Complete():
		return problem.Errorf(503, "unavailable", "no such paced broadcast on the nodes that have answered; try again")
	case errors.Is(err, server.ErrNoPaced):
		return problem.Errorf(404, "not_found", "no such paced broadcast; ended broadcasts are forgotten after a while")
	case err != nil:
		return pushProblem(err)
	}
	answerJSON(ctx, pacedAnswer{d.PacedBroadcast, receipt, coverageOf(d.Coverage)})
	return nil
}

// getBroadcasts serves GET /v1/broadcasts.
func (a *API) getBroadcasts(ctx *fasthttp.RequestCtx, _ names) *problem.Problem {
	list := a.srv.ListPaced(a.quit)
	if list.Broadcasts == nil {
		list.Broadcasts = []server.PacedBroadcast{}
	}
	answerJSON(ctx, struct {
		coverage
		Broadcasts []server.PacedBroadcast `json:"broadcasts"`
	}{coverageOf(list.Coverage), list.Broadcasts})
	return nil
}

// getBroadcast serves GET /v1/broadcasts/{id}.
func (a *API) getBroadcast(ctx *fasthttp.RequestCtx, in names) *problem.Problem {
	d, err := a.srv.FindPaced(a.quit, in.id)
	return answerPaced(ctx, d, "", err)
}

// deleteBroadcast serves DELETE /v1/broadcasts/{id}: it cancels a paced broadcast.
func (a *API) deleteBroadcast(ctx *fasthttp.RequestCtx, in names) *problem.Problem {
	d, err := a.srv.CancelPaced(a.quit, in.id)
	return answerPaced(ctx, d, "", err)
}
