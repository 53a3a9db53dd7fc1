package api

import (
	"context"
	"strconv"

	"github.com/valyala/fasthttp"

	"fanfare/server/api/internal/problem"
)

// Webhooks is the part of a webhook.Service that the API serves.
type Webhooks interface {
	// AppendDead appends a JSON object with dead letters after a position, oldest first.
	AppendDead(ctx context.Context, b []byte, after uint64) ([]byte, error)
	// Replay queues a dead letter again, all of them if at is 0, and returns their number.
	Replay(ctx context.Context, at uint64) (int, error)
	// EachMetric calls f for each metric, like Measured. Names get the prefix
	// "fanfare_webhook_".
	EachMetric(f func(name, help, label, value string, n float64))
}

var errNoWebhooks = problem.Errorf(501, "no_webhooks", "the server was started without webhooks")

// getDead serves GET /v1/webhooks/dead?after=N.
func (a *API) getDead(ctx *fasthttp.RequestCtx, _ names) *problem.Problem {
	if a.cfg.Webhooks == nil {
		return errNoWebhooks
	}
	after, p := queryPosition(ctx, "after")
	if p != nil {
		return p
	}
	body, err := a.cfg.Webhooks.AppendDead(a.quit, nil, after)
	if err != nil {
		return problem.Errorf(503, "unavailable", "%s", err)
	}
	ctx.SetContentType(problem.TypeJSON)
	ctx.SetBody(append(body, '\n'))
	return nil
}

// replayDead serves POST /v1/webhooks/dead/replay?at=N.
func (a *API) replayDead(ctx *fasthttp.RequestCtx, _ names) *problem.Problem {
	if a.cfg.Webhooks == nil {
		return errNoWebhooks
	}
	at, p := queryPosition(ctx, "at")
	if p != nil {
		return p
	}
	n, err := a.cfg.Webhooks.Replay(a.quit, at)
	switch {
	case err != nil:
		return problem.Errorf(503, "unavailable", "%d were queued again, then: %s", n, err)
	case at != 0 && n == 0:
		return problem.Errorf(404, "not_found", "no dead letter of a configured webhook is at %d", at)
	}
	answerJSON(ctx, map[string]int{"replayed": n})
	return nil
}

// queryPosition returns a position from the query, 0 if there is none.
func queryPosition(ctx *fasthttp.RequestCtx, field string) (uint64, *problem.Problem) {
	if !ctx.QueryArgs().Has(field) {
		return 0, nil
	}
	given := ctx.QueryArgs().Peek(field)
	n, err := strconv.ParseUint(string(given), 10, 63)
	if err != nil || n == 0 && field == "at" {
		return 0, problem.Errorf(400, "bad_query", "%s is %.40q: want the \"at\" of a dead letter", field, given)
	}
	return n, nil
}
