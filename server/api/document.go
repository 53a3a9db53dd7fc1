package api

import (
	"bytes"
	"io"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/valyala/fasthttp"

	"fanfare/registry"
	"fanfare/server"
	"fanfare/server/api/internal/problem"
	"fanfare/server/where"
)

// document is one message for any number of users and topics. POST /v1/push takes one,
// and POST /v1/batch one per line:
//
//	{"users": ["alice", "bob"], "topics": ["news"], "data": {"id": 7}}
//	{"broadcast": true, "text": "back at noon"}
//	{"users": ["alice"], "base64": "AAEC"}
//	{"users": ["alice"], "durable": true, "ttl": "1h", "id": "order 7", "data": 1}
//
// Receivers are named by users and topics, or by broadcast. There is one payload: data is
// any JSON and delivered as its text, byte for byte; text is delivered as a text message,
// base64 (RFC 4648 section 4) is decoded and delivered as a binary message. A session matched more than
// once receives the message once. A durable message is stored for users, see
// storedOptions. A durable topic stores every message, whether the document is durable or
// not; a session that matches a durable topic and another name receives the message twice.
// Unknown and repeated fields are errors, because they could change the receivers. A field
// that is null is absent, as serializers of many languages write it, except for data, whose
// payload is null then.
// escalate is the time after which a webhook is told of a durable message that a user has not
// acknowledged. exclude_users and exclude_sessions leave out sessions, where selects by labels, conflate
// replaces older messages, at most at a rate, and receipt counts confirmations, of messages that are not stored.
type document struct {
	Users     []string
	Topics    []string
	Broadcast bool
	Data      jsontext.Value
	Text      *string
	Base64    []byte
	Durable   bool
	Live      bool // "durable":false, as opposed to a document without durable
	TTL       string
	ID        string
	Escalate  string

	ExcludeUsers    []string
	ExcludeSessions []string
	Where           *string
	Conflate        *string
	Rate            *string
	Receipt         bool

	where *where.Expr // Where, parsed

	ttl, escalate time.Duration // TTL and Escalate, parsed
	interval      time.Duration // Rate, parsed

	in  bytes.Buffer // of dec
	dec jsontext.Decoder
}

// documentFields are the names of a document's fields.
var documentFields = []string{"users", "topics", "broadcast", "data", "text", "base64", "durable", "ttl", "id", "escalate", "exclude_users", "exclude_sessions", "where", "conflate", "rate", "receipt"}

// documentLimit returns the greatest length of a document whose payload has at most
// maxPayload bytes: twice that for base64 or JSON escapes, and 64 KiB for names.
func documentLimit(maxPayload int) int { return 2*maxPayload + 64<<10 }

// pushDocument serves POST /v1/push.
func (a *API) pushDocument(ctx *fasthttp.RequestCtx, _ names) *problem.Problem {
	d := documents.Get().(*document)
	defer documents.Put(d)
	if p := a.readDocument(ctx, d); p != nil {
		return p
	}
	if !d.stored(a.srv) {
		delivery, p := d.deliver(a)
		if p != nil {
			return p
		}
		return answerDelivery(ctx, delivery, nil)
	}
	finish, p := d.begin(a)
	if p != nil {
		return p
	}
	answer := finish()
	if answer.problem != nil {
		return answer.problem
	}
	ctx.SetContentType(problem.TypeJSON)
	ctx.SetBody(answer.appendTo(nil))
	return nil
}

func (a *API) readDocument(ctx *fasthttp.RequestCtx, d *document) *problem.Problem {
	body, p := a.readBody(ctx, documentLimit(a.limits.MaxPayload))
	if p != nil {
		return p
	}
	defer body.Free()
	return d.parse(body.B)
}

// documents is the pool of free documents, which keep memory for the next payload and names.
var documents = sync.Pool{New: func() any { return new(document) }}

// dataOptions are the options for a payload that is delivered unchanged: RFC 8259 allows
// repeated names (section 4) and unpaired surrogates in escapes (section 8.2).
var dataOptions = []json.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}

// parse reads a document. It copies what it stores in d.
func (d *document) parse(b []byte) *problem.Problem {
	d.Users, d.Topics, d.Data = d.Users[:0], d.Topics[:0], d.Data[:0]
	d.Broadcast, d.Durable, d.Live = false, false, false
	d.ExcludeUsers, d.ExcludeSessions = d.ExcludeUsers[:0], d.ExcludeSessions[:0]
	d.Where, d.where, d.Conflate, d.Receipt = nil, nil, nil, false
	d.Rate, d.interval = nil, 0
	d.Text, d.Base64, d.TTL, d.ID, d.ttl = nil, nil, "", "", 0
	d.Escalate, d.escalate = "", 0
	// RFC 8259, 8.1, and no text message may have it.
	if !utf8.Valid(b) {
		return problem.Errorf(400, "bad_json", "invalid UTF-8 at byte %d", problem.InvalidAt(b))
	}
	d.in = *bytes.NewBuffer(b)
	d.dec.Reset(&d.in)
	if err := d.decode(&d.dec); err != nil {
		return problem.Document(b, err)
	}
	end := int(d.dec.InputOffset())
	if rest := bytes.TrimLeft(b[end:], " \t\r\n"); len(rest) > 0 {
		r, _ := utf8.DecodeRune(rest)
		return problem.Errorf(400, "bad_json", "at byte %d: invalid character %q after the document", len(b)-len(rest), r)
	}
	return d.check()
}

// decode reads the fields. The decoder rejects repeated names, and strings that are not
// UTF-8 after unescaping, because two users must never become one.
func (d *document) decode(dec *jsontext.Decoder) error {
	if dec.PeekKind() != jsontext.KindBeginObject {
		return json.UnmarshalDecode(dec, &struct{}{}) // null, or an error
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() == jsontext.KindString {
		at := dec.InputOffset()
		quoted, err := dec.ReadValue()
		if err != nil {
			return err
		}
		var room [32]byte // an allocation less: every known name fits
		name, err := jsontext.AppendUnquote(room[:0], quoted)
		if err != nil {
			return err
		}
		if err := d.decodeField(dec, name, at); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (d *document) decodeField(dec *jsontext.Decoder, name []byte, at int64) error {
	switch string(name) {
	case "users":
		return json.UnmarshalDecode(dec, &d.Users)
	case "topics":
		return json.UnmarshalDecode(dec, &d.Topics)
	case "broadcast":
		return json.UnmarshalDecode(dec, &d.Broadcast)
	case "data":
		return json.UnmarshalDecode(dec, &d.Data, dataOptions...)
	case "text":
		return json.UnmarshalDecode(dec, &d.Text)
	case "base64":
		return json.UnmarshalDecode(dec, &d.Base64)
	case "durable":
		var durable *bool
		err := json.UnmarshalDecode(dec, &durable)
		d.Durable, d.Live = durable != nil && *durable, durable != nil && !*durable
		return err
	case "ttl":
		return json.UnmarshalDecode(dec, &d.TTL)
	case "id":
		return json.UnmarshalDecode(dec, &d.ID)
	case "escalate":
		return json.UnmarshalDecode(dec, &d.Escalate)
	case "exclude_users":
		return json.UnmarshalDecode(dec, &d.ExcludeUsers)
	case "exclude_sessions":
		return json.UnmarshalDecode(dec, &d.ExcludeSessions)
	case "where":
		return json.UnmarshalDecode(dec, &d.Where)
	case "conflate":
		return json.UnmarshalDecode(dec, &d.Conflate)
	case "rate":
		return json.UnmarshalDecode(dec, &d.Rate)
	case "receipt":
		return json.UnmarshalDecode(dec, &d.Receipt)
	}
	return &problem.UnknownField{Name: string(name), At: at, Known: documentFields}
}

// check applies the rules that JSON does not have.
func (d *document) check() *problem.Problem {
	payloads := 0
	for _, given := range []bool{len(d.Data) > 0, d.Text != nil, d.Base64 != nil} {
		if given {
			payloads++
		}
	}
	named := len(d.Users)+len(d.Topics) > 0
	switch {
	case payloads != 1:
		return problem.Errorf(400, "bad_document", "the document has %d payloads: want exactly one of data, text and base64; text and base64 that are null are absent", payloads)
	case d.Broadcast && named:
		return problem.Errorf(400, "bad_document", "a broadcast goes to every session: remove users and topics, or broadcast")
	case !d.Broadcast && !named:
		return problem.Errorf(400, "bad_document", "no receivers: want users, topics or broadcast")
	case d.Durable && d.Broadcast:
		return problem.Errorf(400, "bad_document", "a broadcast cannot be durable: name users or topics")
	case d.Durable && d.onlyLive():
		return errNarrowed
	case !d.Durable && d.TTL+d.ID != "" && (d.Live || d.Broadcast || len(d.Users) > 0):
		return errNotStored
	case d.Escalate != "" && !d.Durable:
		return problem.Errorf(400, "bad_document", "escalate is for durable messages to users: say \"durable\":true, or remove it")
	case d.Escalate != "" && len(d.Topics) > 0:
		return problem.Errorf(400, "bad_document", "escalate is for messages to users, and the document names topics: remove them, or escalate")
	}
	if d.Escalate != "" {
		var p *problem.Problem
		if d.escalate, p = escalateOption(d.Escalate); p != nil {
			return p
		}
	}
	if d.TTL+d.ID != "" {
		var p *problem.Problem
		if d.ttl, p = storedOptions(d.TTL, d.ID); p != nil {
			return p
		}
	}
	if d.Conflate != nil {
		if p := checkConflate("bad_document", *d.Conflate); p != nil {
			return p
		}
	}
	if d.Rate != nil {
		var p *problem.Problem
		if d.interval, p = readRate("bad_document", *d.Rate, d.options().Conflate); p != nil {
			return p
		}
	}
	if p := checkNames("users", d.Users); p != nil {
		return p
	}
	if p := checkNames("topics", d.Topics); p != nil || !d.narrowed() {
		return p
	}
	if d.Where != nil {
		var p *problem.Problem
		if d.where, p = parseWhere(*d.Where); p != nil {
			return p
		}
	}
	to := d.audience()
	if err := to.Check(); err != nil {
		return audienceProblem("bad_document", err)
	}
	return nil
}

func checkNames(field string, names []string) *problem.Problem {
	for i, name := range names {
		if name == "" { // null becomes empty
			return problem.Errorf(400, "bad_name", "%s[%d] is empty or null: want a name", field, i)
		}
		if err := registry.CheckName(name); err != nil {
			return problem.Errorf(400, "bad_name", "%s[%d]: %s", field, i, err)
		}
	}
	return nil
}

var errNotStored = problem.Errorf(400, "bad_document", "ttl and id are for durable messages: say \"durable\":true, or remove them")

var errNarrowed = problem.Errorf(400, "bad_document", "exclude_users, exclude_sessions, where, conflate, rate and receipt do not apply to stored messages: remove them, or \"durable\" and durable topics")

// narrowed reports whether the document leaves out sessions that it names.
func (d *document) narrowed() bool {
	return d.Where != nil || len(d.ExcludeUsers)+len(d.ExcludeSessions) > 0
}

// onlyLive reports whether the document has members that do not apply to stored messages.
func (d *document) onlyLive() bool {
	return d.narrowed() || d.Conflate != nil || d.Rate != nil || d.Receipt
}

func (d *document) options() (o server.MessageOptions) {
	if d.Conflate != nil {
		o.Conflate = *d.Conflate
	}
	o.Interval, o.Receipt = d.interval, d.Receipt
	return o
}

func (d *document) audience() server.Audience {
	return server.Audience{Everyone: d.Broadcast, Users: d.Users, Topics: d.Topics, ExcludeUsers: d.ExcludeUsers, ExcludeSessions: d.ExcludeSessions, Where: d.where}
}

func (d *document) payload() (server.Op, []byte) {
	switch {
	case d.Text != nil:
		return server.Text, []byte(*d.Text)
	case d.Base64 != nil:
		return server.Binary, d.Base64
	}
	return server.Text, d.Data
}

// deliver sends a message that is not stored.
func (d *document) deliver(a *API) (out delivered, p *problem.Problem) {
	op, payload := d.payload()
	if limit := a.limits.MaxPayload; len(payload) > limit {
		return out, problem.TooBig("the payload", limit)
	}
	if d.TTL+d.ID != "" {
		return out, errNotStored
	}
	message, p := newMessage(op, payload, d.options())
	if p != nil {
		return out, p
	}
	delivery, err := a.srv.Deliver(a.quit, d.audience(), message)
	if err != nil {
		return out, pushProblem(err)
	}
	return delivered{delivery, message.Receipt()}, nil
}
