package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"

	"github.com/valyala/fasthttp"
)

// problem is what was wrong with a request: an HTTP status, a word for programs and
// a sentence for people.
type problem struct {
	Status  int    `json:"-"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

func problemf(status int, code, format string, args ...any) *problem {
	return &problem{status, code, fmt.Sprintf(format, args...)}
}

// appendTo appends {"error":{"code":…,"message":…}} and a line feed.
func (p *problem) appendTo(b []byte) []byte {
	body, err := json.Marshal(p)
	if err != nil {
		panic("BUG: server: two strings make no JSON: " + err.Error())
	}
	return append(append(append(b, `{"error":`...), body...), "}\n"...)
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

// unreadable answers a request whose head fasthttp could not read. The connection
// ends behind it, since nobody knows where the next request begins.
func (a *API) unreadable(ctx *fasthttp.RequestCtx, err error) {
	p := problemf(400, "bad_request", "this is no HTTP request that the server understands")
	var small *fasthttp.ErrSmallBuffer
	var timeout net.Error
	switch {
	case errors.As(err, &small):
		p = problemf(431, "head_too_long", "the request's head is longer than %d bytes", maxHead)
	case errors.As(err, &timeout) && timeout.Timeout():
		p = problemf(408, "timeout", "the request did not come in time")
	}
	p.answer(&ctx.Response)
	mayBeUnread(ctx, true)
}
