package api

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/valyala/fasthttp"

	"fanfare/frame"
	"fanfare/server"
	"fanfare/server/api/internal/problem"
)

// This file closes one session, and many evenly over a time.

// deleteSessions serves DELETE /v1/sessions?user= or ?id=.
func (a *API) deleteSessions(ctx *fasthttp.RequestCtx, _ names) *problem.Problem {
	args := ctx.QueryArgs()
	if args.Has("user") == args.Has("id") {
		return problem.Errorf(400, "bad_query", "want one of the parameters user and id")
	}
	if args.Has("user") {
		return withNames((*API).deleteUser, "user")(a, ctx, names{})
	}
	return a.deleteSession(ctx, names{id: string(args.Peek("id"))})
}

// deleteSession serves DELETE /v1/sessions/{id}?code=&reason=.
func (a *API) deleteSession(ctx *fasthttp.RequestCtx, in names) *problem.Problem {
	code, reason, p := readClose(ctx.QueryArgs())
	if p != nil {
		return p
	}
	d, err := a.srv.CloseSession(a.quit, in.id, code, reason)
	switch {
	case errors.Is(err, server.ErrSessionID):
		return problem.Errorf(400, "bad_id", "%.80q is not the id of a session: want one of a list of sessions", in.id)
	case err != nil:
		return listProblem(err)
	case d.Receivers == 0 && !d.Complete():
		return problem.Errorf(503, "unavailable", "the nodes that have answered do not have this session; try again")
	case d.Receivers == 0:
		return problem.Errorf(404, "not_found", "no open session has this id")
	}
	answerCount(ctx, "closed", d)
	return nil
}

// closeDocument is the body of POST /v1/close.
type closeDocument struct {
	All    bool        `json:"all"`
	Users  []string    `json:"users"`
	Topic  *string     `json:"topic"`
	Node   *string     `json:"node"`
	Where  *string     `json:"where"`
	Code   server.Code `json:"code"`
	Reason string      `json:"reason"`
	Over   *string     `json:"over"`
	Rate   *int        `json:"rate"`
}

var closeFields = []string{"all", "users", "topic", "node", "where", "code", "reason", "over", "rate"}

// maxClose bounds the document: as many names as are allowed, all of whose bytes are escaped.
const maxClose = 256 << 10

// postClose serves POST /v1/close.
func (a *API) postClose(ctx *fasthttp.RequestCtx, _ names) *problem.Problem {
	body, p := a.readBody(ctx, maxClose)
	if p != nil {
		return p
	}
	order, p := parseClose(body.B)
	body.Free()
	if p != nil {
		return p
	}
	if name := a.nodeNamed(order.Node); name != order.Node {
		order.Node = name
		order.All = order.All || len(order.Users) == 0 && order.Topic == ""
	}
	d, err := a.srv.StartClose(a.quit, order)
	return answerClose(ctx, d, err)
}

// parseClose reads a closeDocument. What remains to be checked, StartClose does.
func parseClose(b []byte) (o server.CloseOrder, p *problem.Problem) {
	var d closeDocument
	if err := json.Unmarshal(b, &d, json.RejectUnknownMembers(true)); err != nil {
		var semantic *json.SemanticError
		if errors.Is(err, json.ErrUnknownName) && errors.As(err, &semantic) {
			return o, problem.Errorf(400, "bad_json", "unknown field %.40q%s", semantic.JSONPointer.LastToken(), problem.Suggest(semantic.JSONPointer.LastToken(), closeFields))
		}
		return o, problem.Document(b, err)
	}
	o = server.CloseOrder{Users: d.Users, All: d.All, Code: d.Code, Reason: d.Reason}
	for _, name := range []struct {
		field string
		given *string
		into  *string
	}{{"topic", d.Topic, &o.Topic}, {"node", d.Node, &o.Node}} {
		if name.given == nil {
			continue
		}
		if *name.given == "" {
			return o, problem.Errorf(400, "bad_document", "%s is empty: give it a value, or remove it", name.field)
		}
		*name.into = *name.given
	}
	if d.Where != nil {
		if o.Where, p = parseWhere(*d.Where); p != nil {
			return o, p
		}
	}
	if d.Over != nil {
		if o.Over, p = parseOver("bad_document", *d.Over); p != nil {
			return o, p
		}
	}
	if d.Rate != nil {
		if o.Rate = *d.Rate; o.Rate < 1 || o.Rate > server.MaxCloseRate {
			return o, problem.Errorf(400, "bad_document", "rate is %d: want 1 to %d sessions per second", o.Rate, server.MaxCloseRate)
		}
	}
	switch {
	case d.Code == 0:
		return o, problem.Errorf(400, "bad_code", "code is missing: want a close code, such as 1012 for clients that are to connect again")
	case !frame.CloseCodeAllowed(d.Code):
		return o, badCode(fmt.Sprint(d.Code))
	}
	if p := checkReason(d.Reason); p != nil {
		return o, p
	}
	return o, checkNames("users", d.Users)
}

// closeAnswer describes a paced close.
type closeAnswer struct {
	ID      string            `json:"id"`
	State   server.PacedState `json:"state"`
	Closed  int               `json:"closed"` // so far
	Of      int               `json:"of"`     // at the start
	Started time.Time         `json:"started"`
	Until   time.Time         `json:"until"`
	Ended   time.Time         `json:"ended,omitzero"`
	All     bool              `json:"all,omitzero"`
	Users   []string          `json:"users,omitempty"`
	Topic   string            `json:"topic,omitempty"`
	Node    string            `json:"node,omitempty"`
	Where   string            `json:"where,omitempty"`
	Code    server.Code       `json:"code"`
	Reason  string            `json:"reason,omitempty"`
}

func describeClose(c *server.PacedClose) closeAnswer {
	return closeAnswer{ID: c.ID, State: c.State, Closed: c.Receivers, Of: c.Of, Started: c.Started, Until: c.Until, Ended: c.Ended,
		All: c.All, Users: c.Users, Topic: c.Topic, Node: c.Node, Where: c.Where, Code: c.Code, Reason: c.Reason}
}

// answerClose answers with a paced close.
func answerClose(ctx *fasthttp.RequestCtx, d server.ClosingDelivery, err error) *problem.Problem {
	switch {
	case errors.Is(err, server.ErrAudience):
		return audienceProblem("bad_document", err)
	case errors.Is(err, server.ErrManyPaced):
		return problem.Errorf(429, "too_many_broadcasts", "%d paced broadcasts and closes are under way: cancel one", server.MaxPaced)
	case errors.Is(err, server.ErrNoClose) && !d.Complete():
		return problem.Errorf(503, "unavailable", "no such close on the nodes that have answered; try again")
	case errors.Is(err, server.ErrNoClose):
		return problem.Errorf(404, "not_found", "no such close; ended ones are forgotten after a while")
	case errors.Is(err, server.ErrNoNode) && !d.Complete():
		return problem.Errorf(503, "unavailable", "none of the nodes that have answered has this name; try again")
	case errors.Is(err, server.ErrNoNode):
		return problem.Errorf(404, "not_found", "no node has this name: GET /v1/nodes has the names")
	case err != nil:
		return listProblem(err)
	}
	answerJSON(ctx, struct {
		closeAnswer
		coverage
	}{describeClose(&d.PacedClose), coverageOf(d.Coverage)})
	return nil
}

// getCloses serves GET /v1/close.
func (a *API) getCloses(ctx *fasthttp.RequestCtx, _ names) *problem.Problem {
	list, err := a.srv.ListCloses(a.quit)
	if err != nil {
		return listProblem(err)
	}
	closes := make([]closeAnswer, len(list.Closes))
	for i := range list.Closes {
		closes[i] = describeClose(&list.Closes[i])
	}
	answerJSON(ctx, struct {
		coverage
		Closes []closeAnswer `json:"closes"`
	}{coverageOf(list.Coverage), closes})
	return nil
}

// getClose serves GET /v1/close/{id}.
func (a *API) getClose(ctx *fasthttp.RequestCtx, in names) *problem.Problem {
	d, err := a.srv.FindClose(a.quit, in.id)
	return answerClose(ctx, d, err)
}

// deleteClose serves DELETE /v1/close/{id}: it cancels a paced close.
func (a *API) deleteClose(ctx *fasthttp.RequestCtx, in names) *problem.Problem {
	d, err := a.srv.CancelClose(a.quit, in.id)
	return answerClose(ctx, d, err)
}
