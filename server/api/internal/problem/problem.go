package problem

import (
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/valyala/fasthttp"
)

// TypeJSON is the media type of all answers.
const TypeJSON = "application/json"

// Problem describes why a request failed: an HTTP status, a code for programs and a message
// for people.
type Problem struct {
	Status  int
	Code    string
	Message string
}

// Errorf returns a Problem, whose message is formatted.
func Errorf(status int, code, format string, args ...any) *Problem {
	return &Problem{status, code, fmt.Sprintf(format, args...)}
}

// AppendTo appends {"error":{"code":…,"message":…}} and a line feed.
func (p *Problem) AppendTo(b []byte) []byte {
	b = AppendString(append(b, `{"error":{"code":`...), p.Code)
	b = AppendString(append(b, `,"message":`...), p.Message)
	return append(b, "}}\n"...)
}

// AppendString appends a JSON string, with U+FFFD for bytes that are not UTF-8.
func AppendString(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s)
	return b
}

// Answer writes the answer to a request that failed.
func (p *Problem) Answer(r *fasthttp.Response) {
	switch p.Status {
	case 401:
		r.Header.Set("WWW-Authenticate", `Bearer realm="fanfare"`) // RFC 9110, 15.5.2
	case 503:
		r.Header.Set("Retry-After", "1") // all of these pass: RFC 9110, 15.6.4
	}
	r.SetStatusCode(p.Status)
	r.Header.SetContentType(TypeJSON)
	r.SetBody(p.AppendTo(nil))
}

// TooBig says that a part of a request is longer than allowed.
func TooBig(what string, limit int) *Problem {
	return Errorf(413, "too_big", "%s is longer than %d bytes", what, limit)
}
