package api

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"fanfare/server"
	"fanfare/server/api/internal/problem"
	"fanfare/server/store"
)

// maxID bounds the ID of a message, in bytes.
const maxID = 256

// storedOptions checks the options of a durable message, which come from the query, as in
// ?durable=true&ttl=1h&id=7, or from the fields of a document. ttl is the time after which
// the message is no longer delivered ("90s", "1h30m", or a number of seconds; empty: that of
// the store), and id makes a retry harmless.
func storedOptions(ttl, id string) (d time.Duration, p *problem.Problem) {
	if ttl != "" {
		var ok bool
		if d, ok = parseTime(ttl); !ok {
			return 0, problem.Errorf(400, "bad_ttl", "ttl is %.40q: want a time like 90s or 1h30m, or a number of seconds", ttl)
		}
	}
	if len(id) > maxID || !utf8.ValidString(id) {
		return 0, problem.Errorf(400, "bad_id", "id has %d bytes: want UTF-8 of at most %d bytes", len(id), maxID)
	}
	return d, nil
}

// parseTime parses a time like 90s, or a number of seconds. It has to be positive.
func parseTime(text string) (d time.Duration, ok bool) {
	if strings.Trim(text, "0123456789") == "" {
		text += "s"
	}
	d, err := time.ParseDuration(text)
	return d, err == nil && d > 0
}

// escalateOption checks the time after which a webhook is told that a message is unread; empty:
// never. Server.Begin knows its limits.
func escalateOption(text string) (d time.Duration, p *problem.Problem) {
	if text == "" {
		return 0, nil
	}
	d, ok := parseTime(text)
	if !ok {
		return 0, problem.Errorf(400, "bad_escalate", "escalate is %.40q: want a time like 30s or 10m, or a number of seconds", text)
	}
	return d, nil
}

// wantsDurable reads ?durable, and rejects options that need it.
func wantsDurable(ctx *fasthttp.RequestCtx) (bool, *problem.Problem) {
	args := ctx.QueryArgs()
	if args.Len() == 0 {
		return false, nil
	}
	switch durable := args.Peek("durable"); {
	case string(durable) == "true", string(durable) == "1":
		return true, nil
	case string(durable) == "false", string(durable) == "0", !args.Has("durable"):
		if args.Has("ttl") || args.Has("id") || args.Has("escalate") {
			return false, problem.Errorf(400, "bad_query", "ttl, id and escalate are for durable messages: say durable=true, or remove them")
		}
		return false, nil
	default:
		return false, problem.Errorf(400, "bad_query", "durable is %.40q: want true or false", durable)
	}
}

// checkStored checks the query of a push to a durable topic, where durable=true is implied.
func checkStored(ctx *fasthttp.RequestCtx) *problem.Problem {
	args := ctx.QueryArgs()
	if !args.Has("durable") {
		return nil
	}
	durable, p := wantsDurable(ctx)
	if p == nil && !durable {
		p = problem.Errorf(409, "durable", "the topic is durable, its messages are always stored: remove durable=false")
	}
	return p
}

// pushStored serves POST /v1/users/{user}/push?durable=true, and a push to a durable topic.
// It answers when the message is stored.
func (a *API) pushStored(ctx *fasthttp.RequestCtx, box store.Box) *problem.Problem {
	args := ctx.QueryArgs()
	for _, name := range []string{"ttl", "id", "escalate"} {
		if args.Has(name) && len(args.Peek(name)) == 0 {
			return problem.Errorf(400, "bad_"+name, "%s is empty: give it a value, or remove it", name)
		}
	}
	id := string(args.Peek("id"))
	ttl, p := storedOptions(string(args.Peek("ttl")), id)
	if p != nil {
		return p
	}
	escalate, p := escalateOption(string(args.Peek("escalate")))
	if p != nil {
		return p
	}
	pending, p := a.beginBody(ctx, box, server.Entry{ID: id, TTL: ttl, Escalate: escalate})
	if p != nil {
		return p
	}
	st, err := pending.Finish(a.quit)
	if err != nil {
		return storedProblem(err)
	}
	ctx.SetContentType(problem.TypeJSON)
	ctx.SetBody(appendStored(nil, st))
	return nil
}

// beginBody takes a place for the body, with the options in e. The body is free when it returns.
func (a *API) beginBody(ctx *fasthttp.RequestCtx, box store.Box, e server.Entry) (*server.Pending, *problem.Problem) {
	body, op, p := a.readPayload(ctx)
	if p != nil {
		return nil, p
	}
	defer body.Free()
	e.Op, e.Payload = op, body.B
	pending, err := a.srv.Begin(box, e)
	if err != nil {
		return nil, storedProblem(err)
	}
	return pending, nil
}

// storedAnswer is the answer to a document with a stored message.
type storedAnswer struct {
	problem *problem.Problem // nil: the other fields are set
	users   []string         // in whose inboxes it is stored
	topics  []string         // durable ones
	stored  []server.Stored  // of users and topics, in this order
	live    server.Delivery  // to receivers for which it is not stored
}

// stored reports whether the message is stored, for users or in durable topics.
func (d *document) stored(srv *server.Server) bool {
	return d.Durable || slices.ContainsFunc(d.Topics, srv.Durable)
}

// begin takes a place for the message in each inbox and durable topic, and sends it now to
// receivers for which it is not stored. The function that it returns stores the message,
// and must be called. It borrows nothing from the document.
func (d *document) begin(api *API) (finish func() storedAnswer, p *problem.Problem) {
	if d.onlyLive() { // and names a durable topic
		return nil, errNarrowed
	}
	srv := api.srv
	op, payload := d.payload()
	if limit := api.limits.MaxPayload; len(payload) > limit {
		return nil, problem.TooBig("the payload", limit)
	}
	var a storedAnswer
	topics := slices.Compact(slices.Sorted(slices.Values(d.Topics)))
	a.topics = slices.DeleteFunc(slices.Clone(topics), func(topic string) bool { return !srv.Durable(topic) })
	switch live := slices.DeleteFunc(topics, srv.Durable); {
	case d.Live:
		return nil, problem.Errorf(409, "durable", "the topic %.40q is durable, its messages are always stored: remove \"durable\":false", a.topics[0])
	case !d.Durable && d.TTL+d.ID != "" && len(live) > 0:
		return nil, problem.Errorf(400, "bad_document", "ttl and id are for durable messages, and the topic %.40q is not durable: remove it, or ttl and id", live[0])
	case d.Durable && api.limits.Store == nil:
		return nil, storedProblem(server.ErrNoStore)
	case d.Durable && len(live) > 0:
		return nil, storedProblem(server.ErrNotDurable)
	case d.Durable:
		a.users = slices.Compact(slices.Sorted(slices.Values(d.Users)))
	case len(d.Users)+len(live) > 0:
		var err error
		if a.live, err = srv.PushMany(api.quit, d.Users, live, server.NewMessage(op, payload)); err != nil {
			return nil, pushProblem(err)
		}
	}
	a.stored = make([]server.Stored, len(a.users)+len(a.topics))
	pending := make([]*server.Pending, 0, len(a.stored))
	complete := false
	defer func() {
		if !complete { // after an error or a panic: others wait for these places
			a.finish(canceled, api, pending)
		}
	}()
	entry := server.Entry{Op: op, Payload: payload, ID: d.ID, TTL: d.ttl, Escalate: d.escalate}
	// In the order of names, so that two documents never wait for each other.
	for i := range a.stored {
		box := store.Box{}
		if i < len(a.users) {
			box.User = a.users[i]
		} else {
			box.Topic = a.topics[i-len(a.users)]
		}
		p, err := srv.Begin(box, entry)
		if err != nil {
			return nil, storedProblem(err)
		}
		pending = append(pending, p)
	}
	complete = true
	return func() storedAnswer { a.finish(api.quit, api, pending); return a }, nil
}

// canceled is a context that is done.
var canceled = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// storeAtOnce is how many messages of one document are being stored at a time.
const storeAtOnce = 64

// finish stores a message for several users and topics, in the order in which their places
// were taken. When the store is not available, it is not asked for each of the others.
func (a *storedAnswer) finish(ctx context.Context, api *API, pending []*server.Pending) {
	if len(pending) == 1 {
		st, err := pending[0].Finish(ctx)
		if a.stored[0] = st; err != nil {
			a.problem = storedProblem(err)
		}
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var next atomic.Int64
	var mu sync.Mutex
	var all sync.WaitGroup
	for range min(len(pending), storeAtOnce) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(pending); i = int(next.Add(1)) - 1 {
				err := errPanic // unless Finish returns
				api.guard("store", func() { a.stored[i], err = pending[i].Finish(ctx) })
				if err == nil {
					continue
				}
				if errors.Is(err, store.ErrUnavailable) {
					cancel()
				}
				mu.Lock()
				if a.problem == nil {
					a.problem = storedProblem(err)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
}

// appendTo appends {"offset":N,"epoch":E,"receivers":M} for one user or topic, and
// {"offsets":{"alice":N,…},"topic_offsets":{"news":N,…},"receivers":M} for several.
func (a *storedAnswer) appendTo(b []byte) []byte {
	all := a.live
	for _, st := range a.stored {
		all.Receivers += st.Receivers
		all.Coverage = all.Merge(st.Coverage)
	}
	if len(a.stored) == 1 {
		return appendStored(b, server.Stored{Epoch: a.stored[0].Epoch, Offset: a.stored[0].Offset, Delivery: all})
	}
	b = append(b, '{')
	b = appendOffsets(b, `"offsets":{`, a.users, a.stored)
	b = appendOffsets(b, `"topic_offsets":{`, a.topics, a.stored[len(a.users):])
	return append(appendDelivery(b, all), "}\n"...)
}

func appendOffsets(b []byte, field string, names []string, stored []server.Stored) []byte {
	if len(names) == 0 {
		return b
	}
	b = append(b, field...)
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(problem.AppendString(b, name), ':')
		b = strconv.AppendUint(b, stored[i].Offset, 10)
	}
	return append(b, `},`...)
}

// storedSize is the greatest length of {"offset":N,"epoch":E,"receivers":M,"complete":false}
// and a line feed, with an epoch of 32 bytes and without the names of missing nodes.
const storedSize = len(`{"offset":,"epoch":"",}`) + 20 + 32 + answerSize

func appendStored(b []byte, st server.Stored) []byte {
	b = strconv.AppendUint(append(b, `{"offset":`...), st.Offset, 10)
	if st.Epoch != "" {
		b = problem.AppendString(append(b, `,"epoch":`...), st.Epoch)
	}
	return append(appendDelivery(append(b, ','), st.Delivery), "}\n"...)
}
