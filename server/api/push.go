package api

import (
	"bytes"
	"strconv"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"fanfare/server"
	"fanfare/server/store"
)

// The routes that push one body, byte for byte.

// pushUser is POST /v1/users/{user}/push.
func (a *API) pushUser(ctx *fasthttp.RequestCtx, in names) *problem {
	durable, p := a.wantsDurable(ctx)
	if p != nil {
		return p
	}
	if durable {
		return a.pushStored(ctx, store.Box{User: in.user})
	}
	message, p := a.message(ctx)
	if p != nil {
		return p
	}
	return answerDelivery(ctx)(a.srv.Push(a.quit, in.user, message))
}

// pushTopic is POST /v1/topics/{topic}/push. It stores what is pushed to a durable
// topic.
func (a *API) pushTopic(ctx *fasthttp.RequestCtx, in names) *problem {
	if a.srv.Durable(in.topic) {
		return a.pushStored(ctx, store.Box{Topic: in.topic})
	}
	durable, p := a.wantsDurable(ctx)
	switch {
	case p != nil:
		return p
	case durable && a.limits.Store == nil:
		return pushProblem(server.ErrNoStore)
	case durable:
		return pushProblem(server.ErrNotDurable)
	}
	message, p := a.message(ctx)
	if p != nil {
		return p
	}
	return answerDelivery(ctx)(a.srv.Publish(a.quit, in.topic, message))
}

// broadcast is POST /v1/broadcast.
func (a *API) broadcast(ctx *fasthttp.RequestCtx, _ names) *problem {
	message, p := a.message(ctx)
	if p != nil {
		return p
	}
	return answerDelivery(ctx)(a.srv.Broadcast(a.quit, message))
}

// message makes one of the request's body.
func (a *API) message(ctx *fasthttp.RequestCtx) (*server.Message, *problem) {
	body, p := a.readBody(ctx, a.limits.MaxPayload)
	if p != nil {
		return nil, p
	}
	defer body.free()
	return server.NewMessage(opFor(ctx.Request.Header.ContentType(), body.b), body.b), nil
}

// opFor decides how a body travels: as text if it is declared to be JSON or text and
// is UTF-8, which a text frame must be (RFC 6455 section 5.6), and else as it is.
func opFor(contentType, body []byte) server.Op {
	media, _, _ := bytes.Cut(contentType, []byte(";"))
	media = bytes.TrimSpace(media)
	declared := bytes.EqualFold(media, []byte(typeJSON)) ||
		len(media) > 5 && (bytes.EqualFold(media[:5], []byte("text/")) || bytes.EqualFold(media[len(media)-5:], []byte("+json")))
	if declared && utf8.Valid(body) {
		return server.Text
	}
	return server.Binary
}

// answerDelivery returns a function that answers with the outcome of a push.
func answerDelivery(ctx *fasthttp.RequestCtx) func(server.Delivery, error) *problem {
	return func(d server.Delivery, err error) *problem {
		if err != nil {
			return pushProblem(err)
		}
		var room [answerSize]byte
		ctx.SetContentType(typeJSON)
		ctx.SetBody(append(appendDelivery(append(room[:0], '{'), d), "}\n"...)) // copies
		return nil
	}
}

// answerSize is the greatest of {"receivers":N,"complete":false} and a line feed.
const answerSize = len(`{"receivers":,"complete":false}`) + 19 + 1

// appendDelivery appends "receivers":N, and "complete":false if a node did not answer.
func appendDelivery(b []byte, d server.Delivery) []byte {
	b = strconv.AppendInt(append(b, `"receivers":`...), int64(d.Receivers), 10)
	if !d.Complete() {
		b = append(b, `,"complete":false`...)
	}
	return b
}
