package server

import (
	"bytes"
	"strconv"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"fanfare/frame"
)

// The routes that push one body, verbatim.

func (a *api) pushUser(ctx *fasthttp.RequestCtx, names []string) *problem {
	return a.push(ctx, func(p *frame.Prepared) int { return a.srv.PushPrepared(names[0], p) })
}

func (a *api) pushTopic(ctx *fasthttp.RequestCtx, names []string) *problem {
	return a.push(ctx, func(p *frame.Prepared) int { return a.srv.PublishPrepared(names[0], p) })
}

func (a *api) broadcast(ctx *fasthttp.RequestCtx, _ []string) *problem {
	return a.push(ctx, a.srv.BroadcastPrepared)
}

func (a *api) push(ctx *fasthttp.RequestCtx, send func(*frame.Prepared) int) *problem {
	body, p := readBody(ctx, a.srv.cfg.MaxPayload)
	if p != nil {
		return p
	}
	message := frame.Prepare(opFor(ctx.Request.Header.ContentType(), body.b), body.b)
	body.free()
	answerReceivers(ctx, send(message))
	return nil
}

// opFor decides how a body travels: as text if it is declared to be JSON or text and
// is UTF-8, which a text frame must be (RFC 6455, 5.6), and else as it is.
func opFor(contentType, body []byte) Op {
	media, _, _ := bytes.Cut(contentType, []byte(";"))
	media = bytes.ToLower(bytes.TrimSpace(media))
	declared := string(media) == typeJSON || bytes.HasPrefix(media, []byte("text/")) || bytes.HasSuffix(media, []byte("+json"))
	if declared && utf8.Valid(body) {
		return Text
	}
	return Binary
}

func answerReceivers(ctx *fasthttp.RequestCtx, n int) {
	ctx.SetContentType(typeJSON)
	ctx.SetBody(appendReceivers(nil, n))
}

func appendReceivers(b []byte, n int) []byte {
	return append(strconv.AppendInt(append(b, `{"receivers":`...), int64(n), 10), "}\n"...)
}
