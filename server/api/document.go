package api

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/valyala/fasthttp"

	"fanfare/registry"
	"fanfare/server"
)

// document is one message for any number of receivers, as POST /v1/push takes it and
// each line of POST /v1/batch:
//
//	{"users": ["alice", "bob"], "topics": ["news"], "data": {"id": 7}}
//	{"broadcast": true, "text": "back at noon"}
//	{"users": ["alice"], "base64": "AAEC"}
//	{"users": ["alice"], "durable": true, "ttl": "1h", "id": "order 7", "data": 1}
//
// It names receivers, by users and topics or by broadcast, and has one payload: data
// is any JSON and delivered as its text, byte for byte; text is delivered as a text
// message, base64 (RFC 4648 section 4) decoded as a binary one. A connection that is
// meant several times gets the message once. A durable message is kept for users
// who are away: see durableOptions. Durable topics keep what they are sent, durable
// or not, and a connection that is meant beside them gets it twice. Unknown members are an error, because
// a misspelt one would change who gets what.
type document struct {
	Users     []string       `json:"users"`
	Topics    []string       `json:"topics"`
	Broadcast bool           `json:"broadcast"`
	Data      jsontext.Value `json:"data"`
	Text      *string        `json:"text"`
	Base64    []byte         `json:"base64"`
	Durable   bool           `json:"durable"`
	TTL       string         `json:"ttl"`
	ID        string         `json:"id"`

	ttl time.Duration // TTL, parsed
}

// documentLimit is for a document with a payload of the greatest size: base64 takes
// a third more and JSON may escape; 64 KiB are for names.
func documentLimit(maxPayload int) int { return 2*maxPayload + 64<<10 }

// pushDocument is POST /v1/push.
func (a *API) pushDocument(ctx *fasthttp.RequestCtx, _ names) *problem {
	body, p := a.readBody(ctx, documentLimit(a.limits.MaxPayload))
	if p != nil {
		return p
	}
	d := documents.Get().(*document)
	defer documents.Put(d)
	p = d.parse(body.b)
	body.free()
	if p != nil {
		return p
	}
	if d.stored(a.srv) {
		finish, p := d.begin(a)
		if p != nil {
			return p
		}
		answer := finish()
		if answer.problem != nil {
			return answer.problem
		}
		ctx.SetContentType(typeJSON)
		ctx.SetBody(answer.appendTo(nil))
		return nil
	}
	n, p := d.deliver(a)
	if p != nil {
		return p
	}
	return answerDelivery(ctx)(n, nil)
}

// documents are those that nobody uses. Their memory is for the next payload and names.
var documents = sync.Pool{New: func() any { return new(document) }}

// documentJSON lets a name come twice, the last one counts, and half a surrogate pair in
// an escape: RFC 8259 allows both, sections 4 and 8.2, and JSON.stringify makes the latter.
var documentJSON = json.JoinOptions(json.RejectUnknownMembers(true), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// parse reads a document. What it keeps are copies.
func (d *document) parse(b []byte) *problem {
	*d = document{Users: d.Users[:0], Topics: d.Topics[:0], Data: d.Data[:0]}
	// RFC 8259, 8.1, and no text message may have them.
	if !utf8.Valid(b) {
		return problemf(400, "bad_json", "invalid UTF-8 at byte %d", invalidAt(b))
	}
	if err := json.Unmarshal(b, d, documentJSON); err != nil {
		return notDocument(b, err)
	}
	return d.check()
}

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

// notDocument says what is wrong with b, and where. Of b it quotes a character, or the
// beginning of a member's name.
func notDocument(b []byte, err error) *problem {
	var syntax *jsontext.SyntacticError
	var kind *json.SemanticError
	var alphabet base64.CorruptInputError
	switch {
	case errors.As(err, &syntax) && errors.Is(err, io.ErrUnexpectedEOF):
		if len(bytes.TrimSpace(b)) == 0 {
			return problemf(400, "bad_json", "the document is empty")
		}
		return problemf(400, "bad_json", "at byte %d: the document has no end", len(b))
	case errors.As(err, &syntax):
		return problemf(400, "bad_json", "at byte %d: %s", syntax.ByteOffset, syntax.Err)
	case errors.Is(err, json.ErrUnknownName) && errors.As(err, &kind):
		return problemf(400, "bad_json", "at byte %d: no member of a document is called %.40q", kind.ByteOffset, kind.JSONPointer.LastToken())
	case errors.As(err, &alphabet):
		return problemf(400, "bad_json", "base64: wrong at byte %d of it", int64(alphabet))
	case errors.As(err, &kind):
		return problemf(400, "bad_json", "at byte %d: %s cannot be %s", kind.ByteOffset, placeOf(kind.JSONPointer), kindOf(kind.JSONKind))
	}
	return problemf(400, "bad_json", "%s", err)
}

// placeOf is a member of a document, as in "users[2]".
func placeOf(p jsontext.Pointer) string {
	if p == "" {
		return "the document"
	}
	member, index, has := strings.Cut(string(p[1:]), "/")
	if has {
		member += "[" + index + "]"
	}
	return member
}

// kindOf is what people call it.
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

// check applies what JSON does not say.
func (d *document) check() *problem {
	payloads := 0
	for _, given := range []bool{len(d.Data) > 0, d.Text != nil, d.Base64 != nil} {
		if given {
			payloads++
		}
	}
	named := len(d.Users)+len(d.Topics) > 0
	switch {
	case payloads != 1:
		return problemf(400, "bad_document", "want exactly one of data, text and base64")
	case d.Broadcast && named:
		return problemf(400, "bad_document", "a broadcast reaches everybody: name no users or topics beside it")
	case !d.Broadcast && !named:
		return problemf(400, "bad_document", "want users, topics or broadcast")
	case d.Durable && d.Broadcast:
		return problemf(400, "bad_document", "a durable message is for users and topics, not for everybody")
	case !d.Durable && d.TTL+d.ID != "" && len(d.Topics) == 0:
		return idForNothing
	}
	if d.TTL+d.ID != "" {
		var p *problem
		if d.ttl, p = durableOptions(d.TTL, d.ID); p != nil {
			return p
		}
	}
	for _, list := range []struct {
		what  string
		names []string
	}{{"users", d.Users}, {"topics", d.Topics}} {
		for i, name := range list.names {
			if err := registry.CheckName(name); err != nil {
				return problemf(400, "bad_name", "%s[%d]: %s", list.what, i, err)
			}
		}
	}
	return nil
}

var idForNothing = &problem{400, "bad_document", "ttl and id are for durable messages"}

func (d *document) payload() (server.Op, []byte) {
	switch {
	case d.Text != nil:
		return server.Text, []byte(*d.Text)
	case d.Base64 != nil:
		return server.Binary, d.Base64
	}
	return server.Text, d.Data
}

// deliver sends the message.
func (d *document) deliver(a *API) (out server.Delivery, p *problem) {
	op, payload := d.payload()
	if limit := a.limits.MaxPayload; len(payload) > limit {
		return out, tooBig("the payload", limit)
	}
	if d.TTL+d.ID != "" {
		return out, idForNothing
	}
	message := server.NewMessage(op, payload)
	var err error
	switch {
	case d.Broadcast:
		out, err = a.srv.Broadcast(a.quit, message)
	case len(d.Users) == 1 && len(d.Topics) == 0:
		out, err = a.srv.Push(a.quit, d.Users[0], message)
	case len(d.Topics) == 1 && len(d.Users) == 0:
		out, err = a.srv.Publish(a.quit, d.Topics[0], message)
	default:
		out, err = a.srv.PushMany(a.quit, d.Users, d.Topics, message)
	}
	if err != nil {
		return out, pushProblem(err)
	}
	return out, nil
}
