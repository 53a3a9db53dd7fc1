package server

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

	"fanfare/frame"
	"fanfare/server/inbox"
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
func (a *api) wantsDurable(ctx *fasthttp.RequestCtx) (bool, *problem) {
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
func (a *api) pushStored(ctx *fasthttp.RequestCtx, in names) *problem {
	args := ctx.QueryArgs()
	id := string(args.Peek("id"))
	ttl, p := durableOptions(string(args.Peek("ttl")), id)
	if p != nil {
		return p
	}
	body, p := a.readBody(ctx, a.srv.cfg.MaxPayload)
	if p != nil {
		return p
	}
	pending, err := a.srv.beginDurable(in.user, in.topic, Durable{opFor(ctx.Request.Header.ContentType(), body.b), body.b, id, ttl})
	body.free()
	if err != nil {
		return durableProblem(err)
	}
	st, err := pending.finish(a.srv.quit)
	if err != nil {
		return durableProblem(err)
	}
	ctx.SetContentType(typeJSON)
	ctx.SetBody(appendStored(nil, st))
	return nil
}

// durableProblem is what a push is told that could not be stored.
func durableProblem(err error) *problem {
	switch {
	case errors.Is(err, ErrNoInbox):
		return problemf(501, "no_inbox", "this server keeps no messages: start it with --data-dir or --nats")
	case errors.Is(err, ErrNotDurable):
		return problemf(409, "not_durable", "this topic is not kept: start the server with --durable-topic")
	case errors.Is(err, inbox.ErrFull):
		return problemf(507, "inbox_full", "%s", err)
	case errors.Is(err, inbox.ErrDiskFull):
		return problemf(507, "disk_full", "the message may not be stored; repeat it with the same id: %s", err)
	case errors.Is(err, inbox.ErrTooBig):
		return problemf(413, "too_big", "%s", err)
	}
	return problemf(503, "unavailable", "the message may not be stored; repeat it with the same id: %s", err)
}

// durableAnswer is the answer to a document with a durable message.
type durableAnswer struct {
	problem *problem
	users   []string // and then
	topics  []string
	stored  []Stored // of both
	live    int      // receivers of what is not stored
}

// stored tells whether the message is kept, for users or in durable topics.
func (d *document) stored(srv *Server) bool {
	return d.Durable || srv.unread != nil && slices.ContainsFunc(d.Topics, srv.keeps)
}

// begin takes a place for the message among those of each user and durable topic.
// The function that it returns stores it, and must be called. It keeps nothing of
// the document. For whom the message is not kept, it is sent now.
func (d *document) begin(srv *Server) (finish func() durableAnswer, p *problem) {
	op, payload := d.payload()
	if len(payload) > srv.cfg.MaxPayload {
		return nil, tooBig("the payload", srv.cfg.MaxPayload)
	}
	var a durableAnswer
	topics := slices.Compact(slices.Sorted(slices.Values(d.Topics)))
	a.topics = slices.DeleteFunc(slices.Clone(topics), func(topic string) bool { return !srv.keeps(topic) })
	switch live := slices.DeleteFunc(topics, srv.keeps); {
	case d.Durable && srv.unread == nil:
		return nil, durableProblem(ErrNoInbox)
	case d.Durable && len(live) > 0:
		return nil, durableProblem(ErrNotDurable)
	case d.Durable:
		a.users = slices.Compact(slices.Sorted(slices.Values(d.Users)))
	case len(d.Users)+len(live) > 0:
		a.live = srv.pushSeveralEverywhere(d.Users, live, frame.Prepare(op, payload))
	}
	a.stored = make([]Stored, 0, len(a.users)+len(a.topics))
	message := Durable{op, payload, d.ID, d.ttl}
	pending := make([]durable, 0, cap(a.stored))
	// In the order of names, so that two of these never wait for each other.
	for _, user := range a.users {
		d, _ := srv.beginDurable(user, "", message)
		pending = append(pending, d)
	}
	for _, topic := range a.topics {
		d, _ := srv.beginDurable("", topic, message)
		pending = append(pending, d)
	}
	a.stored = a.stored[:len(pending)]
	return func() durableAnswer { a.finish(srv.quit, pending); return a }, nil
}

// finish stores a message for several, in the order in which the places were taken.
// When the store fails, it is not asked for each of the others.
func (a *durableAnswer) finish(ctx context.Context, pending []durable) {
	if len(pending) == 1 {
		st, err := pending[0].finish(ctx)
		if a.stored[0] = st; err != nil {
			a.problem = durableProblem(err)
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
				st, err := pending[i].finish(ctx)
				a.stored[i] = st
				if err == nil {
					continue
				}
				if errors.Is(err, inbox.ErrUnavailable) {
					cancel()
				}
				mu.Lock()
				if a.problem == nil {
					a.problem = durableProblem(err)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
}

// storeAtOnce is how many messages of one document are on their way to the store.
const storeAtOnce = 64

// appendTo appends {"offset":N,"receivers":M} for one user or topic, and
// {"offsets":{"alice":N,…},"topic_offsets":{"news":N,…},"receivers":M} for several.
func (a *durableAnswer) appendTo(b []byte) []byte {
	if len(a.stored) == 1 {
		return appendStored(b, Stored{a.stored[0].Offset, a.stored[0].Receivers + a.live})
	}
	receivers := a.live
	for _, st := range a.stored {
		receivers += st.Receivers
	}
	b = append(b, '{')
	b = appendOffsets(b, `"offsets":{`, a.users, a.stored)
	b = appendOffsets(b, `"topic_offsets":{`, a.topics, a.stored[len(a.users):])
	b = append(b, `"receivers":`...)
	return append(strconv.AppendInt(b, int64(receivers), 10), "}\n"...)
}

func appendOffsets(b []byte, member string, names []string, stored []Stored) []byte {
	if len(names) == 0 {
		return b
	}
	b = append(b, member...)
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, []byte(name)), ':')
		b = strconv.AppendUint(b, stored[i].Offset, 10)
	}
	return append(b, `},`...)
}

// durableSize is the greatest of {"offset":N,"receivers":M} and a line feed.
const durableSize = len(`{"offset":,"receivers":}`) + 20 + 19 + 1

func appendStored(b []byte, st Stored) []byte {
	b = strconv.AppendUint(append(b, `{"offset":`...), st.Offset, 10)
	return append(strconv.AppendInt(append(b, `,"receivers":`...), int64(st.Receivers), 10), "}\n"...)
}
