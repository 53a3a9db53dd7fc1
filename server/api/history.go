package api

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"fanfare/server"
	"fanfare/server/api/internal/problem"
	"fanfare/server/api/internal/query"
	"fanfare/server/store"
)

const (
	// historyPage bounds the payloads in one answer, in bytes.
	historyPage = 1 << 20
	// maxHistory bounds the parameter limit, and maxWait the parameter wait: proxies end
	// requests that take longer.
	maxHistory = 10_000
	maxWait    = time.Minute
)

// historyQuery are the parameters of a request for stored messages.
var historyQuery = []string{"after", "epoch", "limit", "wait"}

// storedMessage is a stored message in an answer.
type storedMessage struct {
	Offset  uint64     `json:"offset"`
	Stored  time.Time  `json:"stored"`
	Expires *time.Time `json:"expires,omitzero"`
	Text    *string    `json:"text,omitzero"`
	Base64  []byte     `json:"base64,omitzero"`
}

// storedPage is the part of an answer that inboxes and topics have in common.
type storedPage struct {
	Messages []storedMessage `json:"messages"`
	Next     uint64          `json:"next"` // the parameter after for what follows
	More     int             `json:"more"` // after next
	Gap      bool            `json:"gap"`
}

// getMessages serves GET /v1/topics/{topic}/messages: it lists the stored messages of a
// durable topic after an offset, by default all.
func (a *API) getMessages(ctx *fasthttp.RequestCtx, in names) *problem.Problem {
	q, wait, p := readHistoryQuery(ctx.QueryArgs())
	if p != nil {
		return p
	}
	h, p := a.messages(store.Box{Topic: in.topic}, q, wait)
	if p != nil {
		return p
	}
	answerJSON(ctx, struct {
		Topic string `json:"topic"`
		Epoch string `json:"epoch"`
		storedPage
	}{in.topic, h.Epoch, pageOf(&h)})
	return nil
}

// readHistoryQuery reads after, epoch, limit and wait; wait is 0 without it.
func readHistoryQuery(args *fasthttp.Args) (q server.HistoryQuery, wait time.Duration, p *problem.Problem) {
	var err error
	if given := args.Peek("after"); args.Has("after") {
		if q.After, err = strconv.ParseUint(string(given), 10, 63); err != nil {
			return q, 0, problem.Errorf(400, "bad_query", "after is %.40q: want an offset", given)
		}
	} else if args.Has("epoch") {
		return q, 0, problem.Errorf(400, "bad_query", "epoch is given without after: send the offset that came with the epoch as well")
	}
	q.Epoch = string(args.Peek("epoch"))
	if q.Limit, p = query.Limit(args, 0, maxHistory); p != nil {
		return q, 0, p
	}
	if given := string(args.Peek("wait")); args.Has("wait") {
		text := given
		if strings.Trim(text, "0123456789") == "" {
			text += "s"
		}
		if wait, err = time.ParseDuration(text); err != nil || wait <= 0 || wait > maxWait {
			return q, 0, problem.Errorf(400, "bad_query", "wait is %.40q: want a time of at most %v, like 30s, or a number of seconds", given, maxWait)
		}
	}
	return q, wait, nil
}

// messages reads stored messages and, if there are none, waits for one.
func (a *API) messages(box store.Box, q server.HistoryQuery, wait time.Duration) (server.History, *problem.Problem) {
	q.MaxBytes, q.Now = historyPage, a.now
	h, err := a.srv.Messages(a.quit, box, q)
	if err != nil {
		return h, historyProblem(err)
	}
	if wait == 0 || len(h.Messages) > 0 || h.Gap {
		return h, nil
	}
	defer a.waiting.Add(-1)
	if n := a.waiting.Add(1); n > a.maxWaiting {
		return h, problem.Errorf(429, "too_many_waiting", "%d requests wait for messages, which is the limit: ask again without wait, or later", n-1)
	}
	if a.waits.Err() != nil {
		return h, shuttingDown
	}
	q.After, q.Epoch = h.Next, h.Epoch
	later, err := a.srv.AwaitMessages(a.waits, box, q, wait)
	switch {
	case errors.Is(err, server.ErrNoWait):
		return h, shuttingDown
	case errors.Is(err, context.Canceled) && a.waits.Err() != nil:
		return h, nil // the answer has no messages
	case err != nil:
		return h, historyProblem(err)
	}
	return later, nil
}

// historyProblem returns the answer to a request for stored messages that failed.
func historyProblem(err error) *problem.Problem {
	switch {
	case errors.Is(err, server.ErrNoStore):
		return storedProblem(err)
	case errors.Is(err, server.ErrNotDurable):
		return problem.Errorf(409, "not_durable", "the topic is not durable, and so it has no stored messages: name it among the durable topics of the server")
	}
	return readProblem(err)
}

func pageOf(h *server.History) storedPage {
	p := storedPage{Messages: make([]storedMessage, len(h.Messages)), Next: h.Next, More: h.More, Gap: h.Gap}
	for i := range h.Messages {
		m := &h.Messages[i]
		out := storedMessage{Offset: m.Offset, Stored: m.Stored}
		if !m.Expires.IsZero() {
			expires := m.Expires.UTC()
			out.Expires = &expires
		}
		if m.Binary {
			out.Base64 = m.Payload
		} else {
			text := string(m.Payload)
			out.Text = &text
		}
		p.Messages[i] = out
	}
	return p
}

// getInbox serves GET /v1/users/{user}/inbox: it lists stored messages after an offset, by
// default after the last acknowledged one. It acknowledges nothing.
func (a *API) getInbox(ctx *fasthttp.RequestCtx, in names) *problem.Problem {
	st, box := a.limits.Store, store.Box{User: in.user}
	if st == nil {
		return storedProblem(server.ErrNoStore)
	}
	q, wait, p := readHistoryQuery(ctx.QueryArgs())
	if p != nil {
		return p
	}
	acked, _, err := st.Acked(a.quit, box, in.user)
	if err != nil {
		return readProblem(err)
	}
	if !ctx.QueryArgs().Has("after") {
		q.After = acked
	}
	h, p := a.messages(box, q, wait)
	if p != nil {
		return p
	}
	answerJSON(ctx, struct {
		User  string `json:"user"`
		Epoch string `json:"epoch"`
		Acked uint64 `json:"acked"` // when the request came
		storedPage
	}{in.user, h.Epoch, acked, pageOf(&h)})
	return nil
}

// deleteInbox serves DELETE /v1/users/{user}/inbox, also when the disk is full, because it
// frees space.
func (a *API) deleteInbox(ctx *fasthttp.RequestCtx, in names) *problem.Problem {
	if a.limits.Store == nil {
		return storedProblem(server.ErrNoStore)
	}
	n, err := a.srv.Purge(a.quit, store.Box{User: in.user})
	if err != nil {
		return readProblem(err)
	}
	answerJSON(ctx, map[string]uint64{"deleted": n})
	return nil
}
