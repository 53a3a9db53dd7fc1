package server

import (
	"bytes"
	"strconv"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"fanfare/frame"
)

// The routes that push one body, verbatim.

func (a *api) pushUser(ctx *fasthttp.RequestCtx, in names) *problem {
	if d, p := a.wantsDurable(ctx); d || p != nil {
		if p == nil {
			p = a.pushStored(ctx, in)
		}
		return p
	}
	message, p := a.message(ctx)
	if p == nil {
		answerReceivers(ctx, a.srv.pushEverywhere(in.user, message))
	}
	return p
}

// pushTopic stores what is pushed to a durable topic.
func (a *api) pushTopic(ctx *fasthttp.RequestCtx, in names) *problem {
	if a.srv.keeps(in.topic) {
		return a.pushStored(ctx, in)
	}
	if d, p := a.wantsDurable(ctx); d || p != nil {
		if p == nil {
			if p = durableProblem(ErrNotDurable); a.srv.unread == nil {
				p = durableProblem(ErrNoInbox)
			}
		}
		return p
	}
	message, p := a.message(ctx)
	if p == nil {
		answerReceivers(ctx, a.srv.publishEverywhere(in.topic, message))
	}
	return p
}

func (a *api) broadcast(ctx *fasthttp.RequestCtx, _ names) *problem {
	message, p := a.message(ctx)
	if p == nil {
		answerReceivers(ctx, a.srv.broadcastEverywhere(message))
	}
	return p
}

// message makes one of the request's body.
func (a *api) message(ctx *fasthttp.RequestCtx) (*frame.Prepared, *problem) {
	body, p := a.readBody(ctx, a.srv.cfg.MaxPayload)
	if p != nil {
		return nil, p
	}
	defer body.free()
	return frame.Prepare(opFor(ctx.Request.Header.ContentType(), body.b), body.b), nil
}

// opFor decides how a body travels: as text if it is declared to be JSON or text and
// is UTF-8, which a text frame must be (RFC 6455, 5.6), and else as it is.
func opFor(contentType, body []byte) Op {
	media, _, _ := bytes.Cut(contentType, []byte(";"))
	media = bytes.TrimSpace(media)
	declared := bytes.EqualFold(media, []byte(typeJSON)) ||
		len(media) > 5 && (bytes.EqualFold(media[:5], []byte("text/")) || bytes.EqualFold(media[len(media)-5:], []byte("+json")))
	if declared && utf8.Valid(body) {
		return Text
	}
	return Binary
}

func answerReceivers(ctx *fasthttp.RequestCtx, n int) {
	var room [answerSize]byte
	ctx.SetContentType(typeJSON)
	ctx.SetBody(appendReceivers(room[:0], n)) // copies
}

// answerSize is the greatest of {"receivers":N} and a line feed.
const answerSize = len(`{"receivers":}`) + 19 + 1

func appendReceivers(b []byte, n int) []byte {
	return append(strconv.AppendInt(append(b, `{"receivers":`...), int64(n), 10), "}\n"...)
}
