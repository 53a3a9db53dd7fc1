package connecthook

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"fanfare/registry"
	"fanfare/server"
	"fanfare/server/internal/strict"
	"fanfare/server/where"
)

// Question is the JSON document that describes a handshake to the backend.
type Question struct {
	Path       string `json:"path"`
	Host       string `json:"host"`
	RemoteAddr string `json:"remote_addr"` // without a port; empty for a Unix socket
	// Headers, with names in lower case, Cookies and Query have what Config allows and
	// the handshake has.
	Headers map[string][]string `json:"headers"`
	Cookies map[string]string   `json:"cookies"`
	Query   map[string][]string `json:"query"`
}

// Answer is the JSON document with which the backend decides.
type Answer struct {
	// User is required, unless Reject is there.
	User string `json:"user"`
	// Topics that the session subscribes to. A name that ends with "*" subscribes to
	// nothing, and lets the client subscribe to every topic with that prefix.
	Topics []string `json:"topics"`
	// Subscribe, Publish and Presence, in the same form, are further topics that the client
	// may subscribe to, topics that it may publish to, and topics whose presence it may
	// read, see server.Identity.
	Subscribe []string `json:"subscribe"`
	Publish   []string `json:"publish"`
	Presence  []string `json:"presence"`
	// Limits of the session.
	Limits *server.SessionLimits `json:"limits"`
	// Labels of the session; a value that is null is an error.
	Labels map[string]*string `json:"labels"`
	// Data is for Session.Data, as a jsontext.Value.
	Data jsontext.Value `json:"data"`
	// Expires, if it is there, is when the session is closed with 3000, in seconds since
	// 1970.
	Expires *float64 `json:"expires"`
	// Reject rejects the handshake. All other members must be absent.
	Reject *Rejection `json:"reject"`
}

// Rejection is the HTTP answer to a client that is rejected.
type Rejection struct {
	Status int    `json:"status"` // 400 to 499
	Text   string `json:"text"`
}

// maxText bounds Rejection.Text, in bytes.
const maxText = 1 << 10

// maxExpires is the last second of the year 9999.
const maxExpires = 253402300799

// parseAnswer returns the identity that an answer says, or a *server.Rejection if it says
// that, or what is wrong with it.
func parseAnswer(body []byte, now time.Time) (id server.Identity, err error) {
	var a Answer
	if err := json.Unmarshal(body, &a, json.RejectUnknownMembers(true)); err != nil {
		return id, invalid(err)
	}
	if a.Reject != nil {
		if a.User != "" || a.Topics != nil || a.Subscribe != nil || a.Publish != nil || a.Presence != nil || a.Limits != nil || a.Labels != nil || a.Data != nil || a.Expires != nil {
			return id, errors.New("it has reject and other members")
		}
		return id, a.Reject.rejection()
	}
	if a.User == "" {
		return id, errors.New("it has neither user nor reject")
	}
	if err := registry.CheckName(a.User); err != nil {
		return id, fmt.Errorf("user: %w", err)
	}
	for _, l := range []struct {
		name string
		list []string
	}{{"topics", a.Topics}, {"subscribe", a.Subscribe}, {"publish", a.Publish}, {"presence", a.Presence}} {
		for i, t := range l.list {
			if err := registry.CheckName(t); err != nil {
				return server.Identity{}, fmt.Errorf("%s[%d]: %w", l.name, i, err)
			}
		}
	}
	for _, t := range a.Topics {
		if !strings.HasSuffix(t, "*") {
			id.Topics = append(id.Topics, t)
		}
	}
	if a.Expires != nil {
		whole, fraction := math.Modf(min(*a.Expires, maxExpires+1))
		id.Expires = time.Unix(int64(whole), int64(fraction*1e9))
		if *a.Expires > maxExpires || *a.Expires < 0 || !id.Expires.After(now) {
			return server.Identity{}, fmt.Errorf("expires is %v: want seconds since 1970, in the future", *a.Expires)
		}
	}
	if a.Data != nil {
		id.Data = a.Data
	}
	if len(a.Labels) > 0 {
		id.Labels = make(map[string]string, len(a.Labels))
		for name, value := range a.Labels {
			if value == nil {
				return server.Identity{}, errors.New("labels has a value that is null: want strings")
			}
			id.Labels[name] = *value
		}
		if _, err := where.MakeLabels(id.Labels); err != nil {
			return server.Identity{}, err
		}
	}
	if a.Limits != nil {
		id.Limits = *a.Limits
	}
	id.User, id.MaySubscribe = a.User, slices.Concat(a.Topics, a.Subscribe)
	id.MayPublish, id.MayReadPresence = a.Publish, a.Presence
	return id, nil
}

// wanted is the type of each member, in words.
var wanted = map[string]string{
	"user": "a string", "topics": "a list of strings", "subscribe": "a list of strings", "publish": "a list of strings",
	"presence": "a list of strings", "labels": "an object with strings", "expires": "a number, the seconds since 1970",
	"reject": "an object with a status from 400 to 499, and a text",
}

// invalid says what is wrong with a document, without its values but those of limits.
func invalid(err error) error {
	if text, ok := strict.Wrong(err); ok {
		return errors.New(text)
	}
	if e, ok := errors.AsType[*json.SemanticError](err); ok {
		if errors.Is(err, json.ErrUnknownName) {
			return fmt.Errorf("unknown member %s", strict.Path(e.JSONPointer))
		}
		path := strict.Path(e.JSONPointer)
		member, _, _ := strings.Cut(strings.TrimPrefix(string(e.JSONPointer), "/"), "/")
		if want := wanted[member]; want != "" {
			return fmt.Errorf("%s is %s: %s must be %s", path, strict.KindName(e.JSONKind), member, want)
		}
		return fmt.Errorf("%s is %s: want an object with user or reject", cmp.Or(path, "it"), strict.KindName(e.JSONKind))
	}
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok && errors.Is(err, jsontext.ErrDuplicateName) {
		return fmt.Errorf("member %s is there more than once", strict.Path(e.JSONPointer))
	}
	return errors.New("it is not one JSON object")
}

// rejection returns the answer to the client as a *server.Rejection, or another error if
// that is not possible.
func (r *Rejection) rejection() error {
	if r.Status < 400 || r.Status > 499 {
		return fmt.Errorf("reject.status is %d: want 400 to 499", r.Status)
	}
	if len(r.Text) > maxText || strings.ContainsFunc(r.Text, func(c rune) bool { return c < ' ' && c != '\n' }) {
		return fmt.Errorf("reject.text has %d bytes: want text of at most %d", len(r.Text), maxText)
	}
	text := r.Text
	if text == "" {
		text = http.StatusText(r.Status)
	}
	return &server.Rejection{Status: r.Status, Text: text, Reason: "rejected by the connect hook"}
}
