package server

import (
	"bytes"
	"net/http"
	"slices"
	"strings"

	"fanfare/server/internal/handshake"
)

// This file rejects handshakes whose query has a parameter that has no effect: a
// misspelled one would cost a client its topic or its position without a word. The
// parameters that have an effect are those that were asked for, by Request.Query and
// QueryAll, when Identifier and dialect are done.

// parameter is a query parameter that was asked for.
type parameter struct {
	name  string
	many  bool // it may be repeated
	found bool
}

// ask notes that a parameter has an effect.
func (r *Request) ask(name string, many bool) {
	for i := range r.params {
		if p := &r.params[i]; p.name == name {
			p.many = p.many || many
			return
		}
	}
	r.params = append(r.params, parameter{name: name, many: many})
}

// asked returns the parameter of that name, nil if it was not asked for.
func (r *Request) asked(name []byte) *parameter {
	for i := range r.params {
		if r.params[i].name == string(name) {
			return &r.params[i]
		}
	}
	return nil
}

// checkQuery rejects a request that has a parameter that was not asked for, one that is
// repeated and must not be, or one that is malformed. It looks at no more parameters than
// were asked for.
func (ep *endpoint) checkQuery(r *Request, d Dialect) error {
	if r.anyQuery {
		return nil
	}
	for k, v := range r.head.Pairs {
		name, err := unescape(k)
		if err == nil {
			_, err = unescape(v)
		}
		if err != nil {
			return &Rejection{
				Status: http.StatusBadRequest,
				Text:   "query parameter " + handshake.Quote(k) + ": malformed percent-encoding",
				Reason: "malformed percent-encoding in the query",
			}
		}
		p := r.asked(name)
		switch {
		case p == nil && len(name)+len(v) == 0: // "&&"
		case p == nil && Covers(ep.AllowQuery, string(name)):
		case p == nil:
			return &Rejection{
				Status: http.StatusBadRequest,
				Text:   "query parameter " + handshake.Quote(name) + " has no effect in a handshake " + spokenIn(d) + ": " + r.expected(),
				Reason: "query parameter without effect",
			}
		case p.found && !p.many:
			return errRepeated(string(name))
		default:
			p.found = true
		}
	}
	return nil
}

// unescape is handshake.Unescape without a copy where nothing is encoded.
func unescape(b []byte) ([]byte, error) {
	if !bytes.ContainsAny(b, "%+") {
		return b, nil
	}
	s, err := handshake.Unescape(b)
	return []byte(s), err
}

func errRepeated(name string) error {
	return &Rejection{
		Status: http.StatusBadRequest,
		Text:   "query parameter " + handshake.Quote([]byte(name)) + " is repeated: name it once",
		Reason: "query parameter repeated",
	}
}

// spokenIn says what a dialect's clients offer in their handshake.
func spokenIn(d Dialect) string {
	if p := d.Protocol(); p != "" {
		return "with the sub-protocol " + p
	}
	return "without a sub-protocol"
}

// expected lists the parameters that were asked for. Those of single topics are left out.
func (r *Request) expected() string {
	var names []string
	for _, p := range r.params {
		if !strings.Contains(p.name, ".") {
			names = append(names, p.name)
		}
	}
	if len(names) == 0 {
		return "want no parameters"
	}
	slices.Sort(names)
	return "want " + strings.Join(names, ", ")
}
