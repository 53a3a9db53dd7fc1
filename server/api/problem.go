package api

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/valyala/fasthttp"

	"fanfare/server"
	"fanfare/server/store"
)

// problem describes why a request failed: an HTTP status, a code for programs and a message
// for people.
type problem struct {
	Status  int
	Code    string
	Message string
}

func problemf(status int, code, format string, args ...any) *problem {
	return &problem{status, code, fmt.Sprintf(format, args...)}
}

// appendTo appends {"error":{"code":…,"message":…}} and a line feed.
func (p *problem) appendTo(b []byte) []byte {
	b = appendString(append(b, `{"error":{"code":`...), p.Code)
	b = appendString(append(b, `,"message":`...), p.Message)
	return append(b, "}}\n"...)
}

// appendString appends a JSON string, with U+FFFD for bytes that are not UTF-8.
func appendString(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s)
	return b
}

func (p *problem) answer(r *fasthttp.Response) {
	switch p.Status {
	case 401:
		r.Header.Set("WWW-Authenticate", `Bearer realm="fanfare"`) // RFC 9110, 15.5.2
	case 503:
		r.Header.Set("Retry-After", "1") // all of these pass: RFC 9110, 15.6.4
	}
	r.SetStatusCode(p.Status)
	r.Header.SetContentType(typeJSON)
	r.SetBody(p.appendTo(nil))
}

const typeJSON = "application/json"

var errInternal = &problem{500, "internal", "internal error; the log of the server has the details"}

var errPanic = errors.New("api: panic")

// unreadable answers a request whose head fasthttp could not read. The connection is closed
// afterwards, because the start of the next request is unknown.
func (a *API) unreadable(ctx *fasthttp.RequestCtx, err error) {
	p := problemf(400, "bad_request", "the request is not HTTP/1.1 that the server understands")
	var small *fasthttp.ErrSmallBuffer
	switch {
	case errors.As(err, &small):
		p = problemf(431, "head_too_long", "the head of the request is longer than %d bytes", maxHead)
	case errors.Is(err, fasthttp.ErrUnsupportedTransferEncoding):
		p = problemf(501, "unsupported_encoding", "the Transfer-Encoding is not supported: want chunked") // RFC 9112, 6.1
	case isTimeout(err):
		p = problemf(408, "timeout", "the request did not arrive in time")
	}
	p.answer(&ctx.Response)
	setUnread(ctx, true)
	a.requests.count(nil, p.Status)
}

// pushProblem returns the answer to a push, or a command to sessions, that failed as a whole.
func pushProblem(err error) *problem {
	switch {
	case errors.Is(err, server.ErrTooBig):
		return problemf(413, "too_big", "%s", err)
	case errors.Is(err, errPanic):
		return errInternal
	}
	return problemf(503, "unavailable", "nothing was sent: %s", err)
}

// storedProblem returns the answer to a durable push that failed.
func storedProblem(err error) *problem {
	switch {
	case errors.Is(err, server.ErrNoStore):
		return problemf(501, "no_inbox", "the server stores no messages: it was started without a store")
	case errors.Is(err, server.ErrNotDurable):
		return problemf(409, "not_durable", "a topic is not durable: name it among the durable topics of the server, or remove durable")
	case errors.Is(err, store.ErrFull):
		return problemf(507, "inbox_full", "%s", err)
	case errors.Is(err, store.ErrDiskFull):
		return problemf(507, "disk_full", "the message may not be stored; repeat it with the same id: %s", err)
	case errors.Is(err, store.ErrTooBig), errors.Is(err, server.ErrTooBig):
		return problemf(413, "too_big", "%s", err)
	case errors.Is(err, errPanic):
		return errInternal
	}
	return problemf(503, "unavailable", "the message may not be stored; repeat it with the same id: %s", err)
}

// readProblem returns the answer to a failed request to list or delete stored messages.
func readProblem(err error) *problem {
	if errors.Is(err, store.ErrDiskFull) {
		return problemf(507, "disk_full", "%s", err)
	}
	return problemf(503, "unavailable", "%s", err)
}
