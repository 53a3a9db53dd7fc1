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

// pushUserDurable is POST /v1/users/{user}/push?durable=true. It answers when the
// message is stored.
func (a *api) pushUserDurable(ctx *fasthttp.RequestCtx, in names) *problem {
	args := ctx.QueryArgs()
	id := string(args.Peek("id"))
	ttl, p := durableOptions(string(args.Peek("ttl")), id)
	if p != nil {
		return p
	}
	body, p := readBody(ctx, a.srv.cfg.MaxPayload)
	if p != nil {
		return p
	}
	pending, err := a.srv.beginDurable(in.user, Durable{opFor(ctx.Request.Header.ContentType(), body.b), body.b, id, ttl})
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
	case errors.Is(err, inbox.ErrFull):
		return problemf(507, "inbox_full", "%s", err)
	case errors.Is(err, inbox.ErrTooBig):
		return problemf(413, "too_big", "%s", err)
	}
	return problemf(503, "unavailable", "the message may not be stored; repeat it with the same id: %s", err)
}

// durableAnswer is the answer to a document with a durable message.
type durableAnswer struct {
	problem *problem
	users   []string
	stored  []Stored
}

// begin takes a place for the message among those of each user. The function that
// it returns stores it, and must be called. It keeps nothing of the document.
func (d *document) begin(srv *Server) (finish func() durableAnswer, p *problem) {
	op, payload := d.payload()
	if len(payload) > srv.cfg.MaxPayload {
		return nil, tooBig("the payload", srv.cfg.MaxPayload)
	}
	users := slices.Compact(slices.Sorted(slices.Values(d.Users)))
	pending := make([]durable, len(users))
	for i, user := range users {
		var err error
		// In the order of names, so that two of these never wait for each other.
		if pending[i], err = srv.beginDurable(user, Durable{op, payload, d.ID, d.ttl}); err != nil {
			return nil, durableProblem(err) // the first: there is no inbox
		}
	}
	return func() durableAnswer { return finishAll(srv.quit, users, pending) }, nil
}

// finishAll stores a message for several users, in the order in which the places
// were taken. When the store fails, it is not asked for each of the others.
func finishAll(ctx context.Context, users []string, pending []durable) durableAnswer {
	a := durableAnswer{users: users, stored: make([]Stored, len(users))}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var next atomic.Int64
	var mu sync.Mutex
	var all sync.WaitGroup
	for range min(len(users), storeAtOnce) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(users); i = int(next.Add(1)) - 1 {
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
	return a
}

// storeAtOnce is how many messages of one document are on their way to the store.
const storeAtOnce = 64

// appendTo appends {"offset":N,"receivers":M} for one user, and
// {"offsets":{"alice":N,…},"receivers":M} for several.
func (a *durableAnswer) appendTo(b []byte) []byte {
	if len(a.users) == 1 {
		return appendStored(b, a.stored[0])
	}
	receivers := 0
	b = append(b, `{"offsets":{`...)
	for i, user := range a.users {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, []byte(user)), ':')
		b = strconv.AppendUint(b, a.stored[i].Offset, 10)
		receivers += a.stored[i].Receivers
	}
	b = append(b, `},"receivers":`...)
	return append(strconv.AppendInt(b, int64(receivers), 10), "}\n"...)
}

// durableSize is the greatest of {"offset":N,"receivers":M} and a line feed.
const durableSize = len(`{"offset":,"receivers":}`) + 20 + 19 + 1

func appendStored(b []byte, st Stored) []byte {
	b = strconv.AppendUint(append(b, `{"offset":`...), st.Offset, 10)
	return append(strconv.AppendInt(append(b, `,"receivers":`...), int64(st.Receivers), 10), "}\n"...)
}
