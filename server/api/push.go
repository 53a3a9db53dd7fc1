package api

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"fanfare/server"
	"fanfare/server/api/internal/body"
	"fanfare/server/api/internal/header"
	"fanfare/server/api/internal/problem"
	"fanfare/server/store"
)

// This file has the routes that push one body, byte for byte, and what is answered to a
// push: how many sessions received it, and whether every node has answered.

// pushUser serves POST /v1/users/{user}/push.
func (a *API) pushUser(ctx *fasthttp.RequestCtx, in names) *problem.Problem {
	durable, p := wantsDurable(ctx)
	if p != nil {
		return p
	}
	if durable {
		if p := notNarrowed(ctx.QueryArgs()); p != nil {
			return p
		}
		return a.pushStored(ctx, store.Box{User: in.user})
	}
	return a.deliver(ctx, server.Audience{Users: []string{in.user}})
}

// pushTopic serves POST /v1/topics/{topic}/push. Messages to a durable topic are stored.
func (a *API) pushTopic(ctx *fasthttp.RequestCtx, in names) *problem.Problem {
	if a.srv.Durable(in.topic) {
		if p := checkStored(ctx); p != nil {
			return p
		}
		if p := notNarrowed(ctx.QueryArgs(), paceQuery...); p != nil {
			return p
		}
		return a.pushStored(ctx, store.Box{Topic: in.topic})
	}
	durable, p := wantsDurable(ctx)
	switch {
	case ctx.QueryArgs().Has("escalate"):
		return problem.Errorf(400, "bad_escalate", "escalate is for messages to users: remove it, or push to a user")
	case p != nil:
		return p
	case durable && a.limits.Store == nil:
		return storedProblem(server.ErrNoStore)
	case durable:
		return storedProblem(server.ErrNotDurable)
	}
	return a.deliver(ctx, server.Audience{Topics: []string{in.topic}})
}

// broadcast serves POST /v1/broadcast.
func (a *API) broadcast(ctx *fasthttp.RequestCtx, _ names) *problem.Problem {
	return a.deliver(ctx, server.Audience{Everyone: true})
}

// message makes a message of the body.
func (a *API) message(ctx *fasthttp.RequestCtx, o server.MessageOptions) (*server.Message, *problem.Problem) {
	body, op, p := a.readPayload(ctx)
	if p != nil {
		return nil, p
	}
	defer body.Free()
	return newMessage(op, body.B, o)
}

// readPayload reads a body that is delivered unchanged. The caller frees it.
func (a *API) readPayload(ctx *fasthttp.RequestCtx) (*body.Body, server.Op, *problem.Problem) {
	contentType := ctx.Request.Header.ContentType()
	if media := mediaOf(contentType); len(media) > 10 && bytes.EqualFold(media[:10], []byte("multipart/")) {
		return nil, 0, problem.Errorf(415, "unsupported_type", "a %.40s body has parts, which cannot be delivered as one message: send the message itself as the body", media)
	}
	body, p := a.readBody(ctx, a.limits.MaxPayload)
	if p != nil {
		return nil, 0, p
	}
	op := opFor(contentType, body.B)
	if op == server.Text || !isBinary(mediaOf(contentType)) {
		if p := header.CheckCharset(contentType, body.B); p != nil {
			body.Free()
			return nil, 0, p
		}
	}
	return body, op, nil
}

// opFor decides how a body is delivered: as text if it is UTF-8, as a text frame must be
// (RFC 6455 section 5.6), and its type is not a binary one. So `curl -d`, which declares a
// form, sends text.
func opFor(contentType, body []byte) server.Op {
	if isBinary(mediaOf(contentType)) || !utf8.Valid(body) {
		return server.Binary
	}
	return server.Text
}

// mediaOf returns the media type of a Content-Type field, without its parameters.
func mediaOf(contentType []byte) []byte {
	media, _, _ := bytes.Cut(contentType, []byte(";"))
	return bytes.TrimSpace(media)
}

// binaryTypes are media types of binary data. A type that ends with "/" stands for all of
// its subtypes, one that begins with "+" for all types with this suffix.
var binaryTypes = []string{
	"application/octet-stream",
	"audio/", "font/", "image/", "model/", "video/",
	"application/cbor", "+cbor", "+cbor-seq", "application/cbor-seq",
	"application/protobuf", "application/x-protobuf", "application/vnd.google.protobuf", "+protobuf",
	"application/msgpack", "application/x-msgpack", "application/vnd.msgpack", "+msgpack",
	"application/avro", "avro/binary", "application/bson", "application/vnd.apache.thrift.binary", "application/flatbuffers",
	"application/gzip", "application/zip", "application/zstd", "+gzip", "+zip", "+zstd",
	"application/pdf", "application/wasm", "application/x-tar",
}

func isBinary(media []byte) bool {
	if len(media) == 0 || bytes.Equal(media, []byte(problem.TypeJSON)) {
		return false // most requests
	}
	name := strings.ToLower(string(media))
	if strings.HasSuffix(name, "+xml") || strings.HasSuffix(name, "+json") {
		return false // such as image/svg+xml
	}
	for _, t := range binaryTypes {
		switch {
		case name == t,
			t[0] == '+' && strings.HasSuffix(name, t),
			t[len(t)-1] == '/' && strings.HasPrefix(name, t):
			return true
		}
	}
	return false
}

// delivered is the outcome of a push.
type delivered struct {
	server.Delivery
	receipt string // its ID; empty: none
}

// answerDelivery answers with the outcome of a push.
func answerDelivery(ctx *fasthttp.RequestCtx, d delivered, err error) *problem.Problem {
	if err != nil {
		return pushProblem(err)
	}
	var room [answerSize]byte
	ctx.SetContentType(problem.TypeJSON)
	ctx.SetBody(appendAnswer(room[:0], d)) // copies
	return nil
}

// appendAnswer appends the answer to a push, and a line feed.
func appendAnswer(b []byte, d delivered) []byte {
	b = appendDelivery(append(b, '{'), d.Delivery)
	if d.receipt != "" { // which needs no escapes
		b = append(append(append(b, `,"receipt":"`...), d.receipt...), '"')
	}
	return append(b, "}\n"...)
}

// answerSize is the greatest length of {"receivers":N,"complete":false} and a line feed.
// Names of missing nodes come in addition, up to server.MaxMissingNodes of 64 bytes.
const answerSize = len(`{"receivers":,"complete":false}`) + 19 + 1

// appendDelivery appends "receivers":N, as appendCount does.
func appendDelivery(b []byte, d server.Delivery) []byte { return appendCount(b, "receivers", d) }

// appendCount appends the number of sessions as a field and, if a node did not answer,
// the members of appendCoverage.
func appendCount(b []byte, field string, d server.Delivery) []byte {
	b = append(append(append(b, '"'), field...), `":`...)
	b = strconv.AppendInt(b, int64(d.Receivers), 10)
	return appendCoverage(b, d.Coverage)
}

// coverage is the part of an answer that says whether it counts every node. Missing names
// nodes that did not answer; MissingCount is their number if it is greater.
type coverage struct {
	Complete     bool     `json:"complete"`
	Missing      []string `json:"missing,omitempty"`
	MissingCount int      `json:"missing_count,omitzero"`
}

func coverageOf(c server.Coverage) coverage {
	out := coverage{Complete: c.Complete(), Missing: c.MissingNodes}
	if c.Missing > len(c.MissingNodes) {
		out.MissingCount = c.Missing
	}
	return out
}

// appendCoverage appends nothing if every node has answered, otherwise the fields of
// coverage, each after a comma.
func appendCoverage(b []byte, c server.Coverage) []byte {
	if c.Complete() {
		return b
	}
	b = append(b, `,"complete":false`...)
	out := coverageOf(c)
	if len(out.Missing) > 0 {
		b = append(b, `,"missing":[`...)
		for i, name := range out.Missing {
			if i > 0 {
				b = append(b, ',')
			}
			b = problem.AppendString(b, name)
		}
		b = append(b, ']')
	}
	if out.MissingCount > 0 {
		b = strconv.AppendInt(append(b, `,"missing_count":`...), int64(out.MissingCount), 10)
	}
	return b
}
