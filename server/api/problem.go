package api

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
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

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
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
	case errors.Is(err, server.ErrNoEscalator):
		return problemf(501, "no_escalation", "escalate needs a webhook that is told of message.unread: %s", strings.TrimPrefix(err.Error(), "server: "))
	case errors.Is(err, server.ErrEscalation):
		return problemf(400, "bad_escalate", "escalate: %s", strings.TrimPrefix(err.Error(), server.ErrEscalation.Error()+": "))
	case errors.Is(err, server.ErrNotDurable):
		return problemf(409, "not_durable", "a topic is not durable: name it among the durable topics of the server, or remove durable")
	case errors.Is(err, store.ErrFull):
		return problemf(507, "inbox_full", "%s", err)
	case errors.Is(err, store.ErrDiskFull):
		return problemf(507, "disk_full", "the message may not be stored; repeat it with the same id: %s", err)
	case errors.Is(err, store.ErrTooBig), errors.Is(err, server.ErrTooBig):
		return problemf(413, "too_big", "%s", err)
	case errors.Is(err, store.ErrTTL):
		return problemf(400, "bad_ttl", "%s: want a shorter ttl, or none", err)
	case errors.Is(err, store.ErrIDReused):
		return problemf(422, "id_reused", "%s: give another message another id, and repeat a message unchanged", err)
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

// unknownField is an error of document.decode.
type unknownField struct {
	name string
	at   int64 // at or before its first byte
}

func (e *unknownField) Error() string {
	return fmt.Sprintf("unknown field %.40q%s", e.name, suggest(e.name, documentFields))
}

// notDocument describes what is wrong with b, and where. It quotes at most one character of
// b, or the beginning of a name.
func notDocument(b []byte, err error) *problem {
	var unknown *unknownField
	var syntax *jsontext.SyntacticError
	var semantic *json.SemanticError
	var alphabet base64.CorruptInputError
	switch {
	case errors.As(err, &unknown):
		at := int(unknown.at) + bytes.IndexByte(b[unknown.at:], '"')
		return problemf(400, "bad_json", "at byte %d: %s", at, unknown)
	case len(bytes.TrimSpace(b)) == 0:
		return problemf(400, "bad_json", "the document is empty")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return problemf(400, "bad_json", "at byte %d: the document ends too early", len(b))
	case errors.Is(err, jsontext.ErrDuplicateName) && errors.As(err, &syntax):
		return problemf(400, "bad_json", "at byte %d: field %.40q comes twice", syntax.ByteOffset, syntax.JSONPointer.LastToken())
	case errors.As(err, &syntax):
		return problemf(400, "bad_json", "at byte %d: %s", syntax.ByteOffset, syntax.Err)
	case errors.As(err, &alphabet):
		return problemf(400, "bad_json", "base64: invalid character at byte %d of it", int64(alphabet))
	case errors.As(err, &semantic):
		return problemf(400, "bad_json", "at byte %d: %s cannot be %s", semantic.ByteOffset, placeOf(semantic.JSONPointer), kindOf(semantic.JSONKind))
	}
	return problemf(400, "bad_json", "%s", err)
}

// placeOf names a field of a document, as in "users[2]".
func placeOf(p jsontext.Pointer) string {
	if p == "" {
		return "the document"
	}
	field, index, has := strings.Cut(string(p[1:]), "/")
	if has {
		field += "[" + index + "]"
	}
	return field
}

func kindOf(k jsontext.Kind) string {
	switch k {
	case jsontext.KindBeginObject:
		return "an object"
	case jsontext.KindBeginArray:
		return "an array"
	case jsontext.KindNumber, jsontext.KindString:
		return "a " + k.String()
	}
	return k.String()
}

// invalidAt returns where text stops being UTF-8.
func invalidAt(b []byte) (at int) {
	for at < len(b) {
		r, size := utf8.DecodeRune(b[at:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		at += size
	}
	return at
}
