package handshake

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
)

// Query is the query parameters of a request that have an effect. A handshake whose query has a
// parameter without effect is rejected: because of a misspelled one a client would silently lose its
// topic or its position.
type Query struct {
	params []parameter
	any    bool // other parameters may have an effect, too
}

// parameter is a query parameter that has an effect.
type parameter struct {
	name  string
	many  bool // it may be repeated
	found bool
}

// Reset clears q and keeps its memory.
func (q *Query) Reset() {
	clear(q.params)
	*q = Query{params: q.params[:0]}
}

// Use notes that a parameter has an effect, UseAll that it may be repeated, and UseAny that every
// parameter may have one.
func (q *Query) Use(name string)    { q.use(name, false) }
func (q *Query) UseAll(name string) { q.use(name, true) }
func (q *Query) UseAny()            { q.any = true }

// Used reports whether Use or UseAll was called for a parameter.
func (q *Query) Used(name string) bool { return q.find([]byte(name)) != nil }

func (q *Query) use(name string, many bool) {
	for i := range q.params {
		if p := &q.params[i]; p.name == name {
			p.many = p.many || many
			return
		}
	}
	q.params = append(q.params, parameter{name: name, many: many})
}

// find returns the parameter of that name, nil if it has no effect.
func (q *Query) find(name []byte) *parameter {
	for i := range q.params {
		if q.params[i].name == string(name) {
			return &q.params[i]
		}
	}
	return nil
}

// Check rejects a request that has a parameter without effect, one that is
// repeated and must not be, or one that is malformed. It looks at no more parameters than
// have an effect. allowed reports whether one may be there without; protocol is the
// sub-protocol that was chosen, empty if none was.
func (q *Query) Check(r *Request, allowed func(name string) bool, protocol string) error {
	if q.any {
		return nil
	}
	for k, v := range r.Pairs {
		name, err := UnescapeBytes(k)
		if err == nil {
			_, err = UnescapeBytes(v)
		}
		if err != nil {
			return &Rejection{
				Status: http.StatusBadRequest,
				Text:   "query parameter " + Quote(k) + ": malformed percent-encoding",
				Reason: "malformed percent-encoding in the query",
			}
		}
		p := q.find(name)
		switch {
		case p == nil && len(name)+len(v) == 0: // "&&"
		case p == nil && allowed(string(name)):
		case p == nil:
			return &Rejection{
				Status: http.StatusBadRequest,
				Text:   "query parameter " + Quote(name) + " has no effect in a handshake " + spokenIn(protocol) + ": " + q.expected(),
				Reason: "query parameter without effect",
			}
		case p.found && !p.many:
			return RepeatedParam(string(name))
		default:
			p.found = true
		}
	}
	return nil
}

// UnescapeBytes is Unescape without a copy where nothing is encoded.
func UnescapeBytes(b []byte) ([]byte, error) {
	if !bytes.ContainsAny(b, "%+") {
		return b, nil
	}
	s, err := Unescape(b)
	return []byte(s), err
}

// spokenIn says what the clients of a sub-protocol offer in their handshake.
func spokenIn(protocol string) string {
	if protocol != "" {
		return "with the sub-protocol " + protocol
	}
	return "without a sub-protocol"
}

// Unused returns the names of up to four parameters that have no effect so far, quoted.
func (q *Query) Unused(r *Request) (names []string) {
	for k := range r.Pairs {
		name, err := UnescapeBytes(k)
		if err != nil {
			name = k
		}
		if quoted := Quote(name); len(name) > 0 && q.find(name) == nil && !slices.Contains(names, quoted) {
			if names = append(names, quoted); len(names) == maxUnused {
				break
			}
		}
	}
	return names
}

const maxUnused = 4

// expected lists the parameters that have an effect. Those of single topics are left out.
func (q *Query) expected() string {
	var names []string
	for _, p := range q.params {
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
