package header

import (
	"bytes"
	"mime"
	"strings"

	"github.com/valyala/fasthttp"

	"fanfare/server/api/internal/problem"
)

// unsupported lists header fields that change the meaning of a request and that the API does
// not implement, in the form that fasthttp gives to names. Ignoring them would do something
// other than what was asked. Not in the list are Range, which a server MUST ignore except in
// a GET (RFC 9110, 14.2), and Prefer, of which a server MUST ignore what it does not know (RFC
// 7240 section 2).
var unsupported = map[string]string{
	"Content-Range":       "send the whole body",                                 // RFC 9110, 14.5
	"If-Match":            noConditions,                                          // RFC 9110, 13.1
	"If-None-Match":       noConditions,                                          //
	"If-Unmodified-Since": noConditions,                                          //
	"Ttl":                 "use the parameters durable and ttl",                  // RFC 8030, 5.2
	"Urgency":             "every message is sent at once",                       // RFC 8030, 5.3
	"Topic":               "no message replaces another; a topic is in the path", // RFC 8030, 5.4
	"Crypto-Key":          "send the body as it is",                              // of Web Push before RFC 8291
	"Encryption":          "send the body as it is",                              //
	"Idempotency-Key":     sameID,
	"X-Idempotency-Key":   sameID,
	"Nats-Msg-Id":         sameID,
	"Apns-Id":             sameID,
	"Apns-Collapse-Id":    "no message replaces another",
	"Apns-Expiration":     "use the parameters durable and ttl",
	"Apns-Priority":       "every message is sent at once",
	"Apns-Push-Type":      "this is not the API of APNs",
	"Apns-Topic":          "this is not the API of APNs",
}

// overrides are header fields that ask for another method than that of the request.
var overrides = map[string]bool{"X-Http-Method-Override": true, "X-Http-Method": true, "X-Method-Override": true}

const (
	noConditions = "the API has no conditional requests"
	sameID       = "repeat durable messages with the same id parameter or field"
)

// Check rejects a request whose header asks for something that the API does not do. A
// GET may have conditions, which caches and browsers add.
func Check(ctx *fasthttp.RequestCtx, get bool) *problem.Problem {
	h := &ctx.Request.Header
	for name, value := range h.All() {
		if len(value) == 0 {
			continue
		}
		if overrides[string(name)] {
			return problem.Errorf(400, "bad_header", "the header field %s is not supported: send the request with that method", name)
		}
		if hint := unsupported[string(name)]; hint != "" && !get {
			return problem.Errorf(400, "bad_header", "the header field %s is not supported: %s", fieldName(name), hint)
		}
	}
	if get {
		return nil
	}
	// RFC 9110, 10.1.1.
	if expect := h.Peek("Expect"); len(expect) > 0 && !bytes.EqualFold(expect, []byte("100-continue")) {
		return problem.Errorf(417, "bad_expect", "Expect: %.40q is not supported, only 100-continue is", expect)
	}
	if coding := h.Peek("Content-Encoding"); len(coding) > 0 && !bytes.EqualFold(coding, []byte("identity")) {
		ctx.Response.Header.Set("Accept-Encoding", "identity") // RFC 9110, 15.5.16
		return problem.Errorf(415, "unsupported_encoding", "Content-Encoding %.40q is not supported: send the body as it is", coding)
	}
	return nil
}

// fieldName returns the usual spelling of a name of unsupported.
func fieldName(name []byte) string {
	if string(name) == "Ttl" {
		return "TTL"
	}
	return string(name)
}

// CheckCharset rejects a body whose text is in another encoding than UTF-8. Bodies that
// are ASCII are the same in the single-byte encodings that clients declare by default.
func CheckCharset(contentType, body []byte) *problem.Problem {
	if bytes.IndexByte(contentType, ';') < 0 {
		return nil
	}
	_, params, err := mime.ParseMediaType(string(contentType))
	if err != nil {
		return nil // then the type says nothing about the charset
	}
	switch charset := strings.ToLower(params["charset"]); {
	case charset == "", charset == "utf-8", charset == "utf8", charset == "us-ascii":
		return nil
	case (strings.HasPrefix(charset, "iso-8859-") || strings.HasPrefix(charset, "windows-125")) && isASCII(body):
		return nil
	default:
		return problem.Errorf(415, "unsupported_charset", "charset %.40q is not supported: send UTF-8", charset)
	}
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
