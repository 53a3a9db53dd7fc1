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

	"github.com/go-json-experiment/json/jsontext"
	"github.com/valyala/fasthttp"

	"fanfare/server"
	"fanfare/server/store"
)

// maxID bounds the ID of a message, in bytes.
const maxID = 256

// durableOptions checks those of a durable message, as ?durable=true&ttl=1h&id=7 or
// the members of a document say them: for how long the user may want it ("90s",
// "1h30m", or a number of seconds; empty: as long as it is kept), and an ID that
// makes a repetition harmless.
func durableOptions(ttl, id string) (d time.Duration, p *problem) {
	if ttl != "" {
		var err error
		if strings.Trim(ttl, "0123456789") == "" {
			ttl += "s"
		}
		if d, err = time.ParseDuration(ttl); err != nil || d <= 0 {
			return 0, problemf(400, "bad_ttl", "ttl: want a time like 90s or 1h30m, or a number of seconds")
		}
	}
	if len(id) > maxID || !utf8.ValidString(id) {
		return 0, problemf(400, "bad_id", "id: want UTF-8 of at most %d bytes", maxID)
	}
	return d, nil
}

// wantsDurable reads ?durable=.
func (a *API) wantsDurable(ctx *fasthttp.RequestCtx) (bool, *problem) {
	args := ctx.QueryArgs()
	switch string(args.Peek("durable")) {
	case "true", "1":
		return true, nil
	case "", "false", "0":
		if args.Has("ttl") || args.Has("id") {
			return false, problemf(400, "bad_query", "ttl and id are for durable messages: say durable=true")
		}
		return false, nil
	}
	return false, problemf(400, "bad_query", "durable: want true or false")
}

// pushStored is POST /v1/users/{user}/push?durable=true, and a push to a durable
// topic. It answers when the message is stored.
func (a *API) pushStored(ctx *fasthttp.RequestCtx, box store.Box) *problem {
	args := ctx.QueryArgs()
	id := string(args.Peek("id"))
	ttl, p := durableOptions(string(args.Peek("ttl")), id)
	if p != nil {
		return p
	}
	body, p := a.readBody(ctx, a.limits.MaxPayload)
	if p != nil {
		return p
	}
	pending, err := a.srv.Begin(box, server.Entry{Op: opFor(ctx.Request.Header.ContentType(), body.b), Payload: body.b, ID: id, TTL: ttl})
	body.free()
	if err != nil {
		return pushProblem(err)
	}
	st, err := pending.Finish(a.quit)
	if err != nil {
		return pushProblem(err)
	}
	ctx.SetContentType(typeJSON)
	ctx.SetBody(appendStored(nil, st))
	return nil
}

// pushProblem is the answer to a push that failed.
func pushProblem(err error) *problem {
	switch {
	case errors.Is(err, server.ErrNoStore):
		return problemf(501, "no_inbox", "this server keeps no messages: start it with --data-dir or --nats")
	case errors.Is(err, server.ErrNotDurable):
		return problemf(409, "not_durable", "this topic is not kept: start the server with --durable-topic")
	case errors.Is(err, store.ErrFull):
		return problemf(507, "inbox_full", "%s", err)
	case errors.Is(err, store.ErrDiskFull):
		return problemf(507, "disk_full", "the message may not be stored; repeat it with the same id: %s", err)
	case errors.Is(err, store.ErrTooBig), errors.Is(err, server.ErrTooBig):
		return problemf(413, "too_big", "%s", err)
	}
	if errors.Is(err, errPanic) {
		return errInternal
	}
	return problemf(503, "unavailable", "the message may not be stored; repeat it with the same id: %s", err)
}

var errPanic = errors.New("api: panic")

// durableAnswer is the answer to a document with a durable message.
type durableAnswer struct {
	problem *problem
	users   []string // and then
	topics  []string
	stored  []server.Stored // of both
	live    server.Delivery // of what is not stored
}

// stored tells whether the message is kept, for users or in durable topics.
func (d *document) stored(srv *server.Server) bool {
	return d.Durable || slices.ContainsFunc(d.Topics, srv.Durable)
}

// begin takes a place for the message among those of each user and durable topic.
// The function that it returns stores it, and must be called. It keeps nothing of
// the document. For whom the message is not kept, it is sent now.
func (d *document) begin(api *API) (finish func() durableAnswer, p *problem) {
	srv := api.srv
	op, payload := d.payload()
	if limit := api.limits.MaxPayload; len(payload) > limit {
		return nil, tooBig("the payload", limit)
	}
	var a durableAnswer
	topics := slices.Compact(slices.Sorted(slices.Values(d.Topics)))
	a.topics = slices.DeleteFunc(slices.Clone(topics), func(topic string) bool { return !srv.Durable(topic) })
	switch live := slices.DeleteFunc(topics, srv.Durable); {
	case d.Durable && srv.Config().Store == nil:
		return nil, pushProblem(server.ErrNoStore)
	case d.Durable && len(live) > 0:
		return nil, pushProblem(server.ErrNotDurable)
	case d.Durable:
		a.users = slices.Compact(slices.Sorted(slices.Values(d.Users)))
	case len(d.Users)+len(live) > 0:
		var err error
		if a.live, err = srv.PushMany(api.quit, d.Users, live, server.NewMessage(op, payload)); err != nil {
			return nil, pushProblem(err)
		}
	}
	a.stored = make([]server.Stored, 0, len(a.users)+len(a.topics))
	message := server.Entry{Op: op, Payload: payload, ID: d.ID, TTL: d.ttl}
	pending := make([]*server.Pending, 0, cap(a.stored))
	// In the order of names, so that two of these never wait for each other.
	for _, user := range a.users {
		p, _ := srv.Begin(store.Box{User: user}, message)
		pending = append(pending, p)
	}
	for _, topic := range a.topics {
		p, _ := srv.Begin(store.Box{Topic: topic}, message)
		pending = append(pending, p)
	}
	a.stored = a.stored[:len(pending)]
	return func() durableAnswer { a.finish(api, pending); return a }, nil
}

// finish stores a message for several, in the order in which the places were taken.
// When the store fails, it is not asked for each of the others.
func (a *durableAnswer) finish(api *API, pending []*server.Pending) {
	if len(pending) == 1 {
		st, err := pending[0].Finish(api.quit)
		if a.stored[0] = st; err != nil {
			a.problem = pushProblem(err)
		}
		return
	}
	ctx, cancel := context.WithCancel(api.quit)
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
					a.problem = pushProblem(err)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
}

// storeAtOnce is how many messages of one document are on their way to the store.
const storeAtOnce = 64

// appendTo appends {"offset":N,"epoch":E,"receivers":M} for one user or topic, and
// {"offsets":{"alice":N,…},"topic_offsets":{"news":N,…},"receivers":M} for several.
func (a *durableAnswer) appendTo(b []byte) []byte {
	all := a.live
	for _, st := range a.stored {
		all.Receivers += st.Receivers
		all.Missing = max(all.Missing, st.Missing)
		if st.Unreachable != nil {
			all.Unreachable = st.Unreachable
		}
	}
	if len(a.stored) == 1 {
		return appendStored(b, server.Stored{Epoch: a.stored[0].Epoch, Offset: a.stored[0].Offset, Delivery: all})
	}
	b = append(b, '{')
	b = appendOffsets(b, `"offsets":{`, a.users, a.stored)
	b = appendOffsets(b, `"topic_offsets":{`, a.topics, a.stored[len(a.users):])
	return append(appendDelivery(b, all), "}\n"...)
}

func appendOffsets(b []byte, member string, names []string, stored []server.Stored) []byte {
	if len(names) == 0 {
		return b
	}
	b = append(b, member...)
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendJSON(b, name), ':')
		b = strconv.AppendUint(b, stored[i].Offset, 10)
	}
	return append(b, `},`...)
}

// durableSize is the greatest of {"offset":N,"epoch":E,"receivers":M,"complete":false}
// and a line feed, with an epoch of 32 bytes.
const durableSize = len(`{"offset":,"epoch":"",}`) + 20 + 32 + answerSize

func appendStored(b []byte, st server.Stored) []byte {
	b = strconv.AppendUint(append(b, `{"offset":`...), st.Offset, 10)
	if st.Epoch != "" {
		b = appendJSON(append(b, `,"epoch":`...), st.Epoch)
	}
	return append(appendDelivery(append(b, ','), st.Delivery), "}\n"...)
}

// appendJSON appends a JSON string.
func appendJSON(b []byte, s string) []byte {
	b, err := jsontext.AppendQuote(b, s)
	if err != nil {
		panic("BUG: api: a name is not UTF-8: " + err.Error())
	}
	return b
}
