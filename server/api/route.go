package api

import (
	"bytes"
	"errors"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"fanfare/registry"
)

// route is one path of the API. A segment in braces is a name, which may have any
// characters if they are percent-encoded, "/" among them.
type route struct {
	path    []string
	open    bool // needs no key
	pprof   bool // is there only with Config.Pprof
	methods []method
}

type method struct {
	name  string
	serve func(a *API, ctx *fasthttp.RequestCtx, in names) *problem
}

// names are those in a path, decoded and checked.
type names struct{ user, topic, profile string }

// routes of the API. GET serves HEAD too.
var routes = []route{
	{path: split("/healthz"), open: true, methods: []method{{"GET", (*API).healthz}}},
	{path: split("/readyz"), open: true, methods: []method{{"GET", (*API).readyz}}},
	{path: split("/v1/broadcast"), methods: []method{{"POST", (*API).broadcast}}},
	{path: split("/v1/users/{user}/push"), methods: []method{{"POST", (*API).pushUser}}},
	{path: split("/v1/topics/{topic}/push"), methods: []method{{"POST", (*API).pushTopic}}},
	{path: split("/v1/push"), methods: []method{{"POST", (*API).pushDocument}}},
	{path: split("/v1/batch"), methods: []method{{"POST", (*API).batch}}},
	{path: split("/v1/users/{user}"), methods: []method{{"GET", (*API).getUser}, {"DELETE", (*API).deleteUser}}},
	{path: split("/v1/users/{user}/inbox"), methods: []method{{"GET", (*API).getInbox}, {"DELETE", (*API).deleteInbox}}},
	{path: split("/v1/topics/{topic}"), methods: []method{{"GET", (*API).getTopic}}},
	{path: split("/v1/topics/{topic}/sessions"), methods: []method{{"GET", (*API).getSubscribers}}},
	{path: split("/v1/topics/{topic}/users/{user}"), methods: []method{{"PUT", (*API).putSubscriber}, {"DELETE", (*API).deleteSubscriber}}},
	{path: split("/debug/pprof"), pprof: true, methods: []method{{"GET", (*API).profiles}}},
	{path: split("/debug/pprof/"), pprof: true, methods: []method{{"GET", (*API).profiles}}},
	{path: split("/debug/pprof/{profile}"), pprof: true, methods: []method{{"GET", (*API).profile}}},
	{path: split("/metrics"), methods: []method{{"GET", (*API).metrics}}},
	{path: split("/v1/stats"), methods: []method{{"GET", (*API).stats}}},
}

func split(path string) []string { return strings.Split(path[1:], "/") }

// serve is called by fasthttp for each request. It looks at the target as the client
// sent it: fasthttp's own path is decoded and cleaned, so that a user named "a/b" or
// ".." would be lost.
func (a *API) serve(ctx *fasthttp.RequestCtx) {
	p := a.dispatchGuarded(ctx)
	if p != nil {
		p.answer(&ctx.Response)
	}
	mayBeUnread(ctx, p != nil && ctx.RequestBodyStream() != nil)
}

// dispatchGuarded is dispatch for handlers that may panic: fasthttp has no recover
// around them.
func (a *API) dispatchGuarded(ctx *fasthttp.RequestCtx) (p *problem) {
	defer func() {
		if v := recover(); v != nil {
			a.panicked(string(ctx.Method())+" "+string(ctx.Path()), v)
			ctx.Response.Reset()
			p = errInternal
		}
	}()
	return a.dispatch(ctx)
}

var errInternal = &problem{500, "internal", "internal error; the server's log has the details"}

// guard calls f and reports whether it returned: a panic is logged and counted.
func (a *API) guard(where string, f func()) (ok bool) {
	defer func() {
		if v := recover(); v != nil {
			a.panicked(where, v)
			ok = false
		}
	}()
	f()
	return true
}

// panicked logs and counts a panic that was recovered.
func (a *API) panicked(where string, v any) {
	a.cfg.Logger.Error("panic recovered", "where", where, "panic", v, "stack", string(debug.Stack()))
	a.panics.Add(1) // last: a reader of the counter finds it in the log
}

func (a *API) dispatch(ctx *fasthttp.RequestCtx) *problem {
	target := ctx.Request.Header.RequestURI()
	if len(target) == 0 {
		return problemf(400, "bad_request", "the request names no path")
	}
	path, _, _ := bytes.Cut(originForm(target), []byte("?"))
	var segments [maxSegments][]byte
	n := cutPath(path, segments[:])
	for i := range routes {
		r := &routes[i]
		if !r.matches(segments[:n]) || r.pprof && !a.cfg.Pprof {
			continue
		}
		if !r.open {
			if p := a.admitted(ctx); p != nil {
				return p
			}
		}
		return a.call(ctx, r, segments[:n])
	}
	if p := a.admitted(ctx); p != nil {
		return p
	}
	return problemf(404, "not_found", "there is nothing at this path; in the names of users and topics, percent-encode all characters but letters and digits")
}

func (a *API) call(ctx *fasthttp.RequestCtx, r *route, segments [][]byte) *problem {
	name := ctx.Method()
	if string(name) == "HEAD" {
		name = []byte("GET")
	}
	for _, m := range r.methods {
		if m.name != string(name) {
			continue
		}
		in, p := r.names(segments)
		if p != nil {
			return p
		}
		return m.serve(a, ctx, in)
	}
	allow := make([]string, 0, 3)
	for _, m := range r.methods {
		allow = append(allow, m.name)
		if m.name == "GET" {
			allow = append(allow, "HEAD")
		}
	}
	slices.Sort(allow)
	list := strings.Join(allow, ", ")
	ctx.Response.Header.Set("Allow", list) // RFC 9110, 15.5.6
	return problemf(405, "method_not_allowed", "this path takes %s", list)
}

// maxSegments is one more than the longest route has.
const maxSegments = 6

// originForm is the path and query of a target. RFC 9112 section 3.2.2: a server
// accepts http://host/path too.
func originForm(target []byte) []byte {
	scheme, rest, ok := bytes.Cut(target, []byte("://"))
	if !ok || !bytes.EqualFold(scheme, []byte("http")) && !bytes.EqualFold(scheme, []byte("https")) {
		return target
	}
	if n := bytes.IndexAny(rest, "/?"); n >= 0 {
		return rest[n:]
	}
	return nil
}

// cutPath cuts a path, which begins with "/", into segments, which may be empty, and
// returns how many there are, maxSegments if more.
func cutPath(path []byte, into [][]byte) (n int) {
	if len(path) == 0 || path[0] != '/' {
		return 0
	}
	rest, more := path[1:], true
	for more && n < len(into) {
		into[n], rest, more = bytes.Cut(rest, []byte("/"))
		n++
	}
	return n
}

func (r *route) matches(segments [][]byte) bool {
	if len(segments) != len(r.path) {
		return false
	}
	for i, want := range r.path {
		if !strings.HasPrefix(want, "{") && want != string(segments[i]) {
			return false
		}
	}
	return true
}

// names decodes those of the path.
func (r *route) names(segments [][]byte) (in names, p *problem) {
	for i, want := range r.path {
		var to *string
		switch want {
		case "{user}":
			to = &in.user
		case "{topic}":
			to = &in.topic
		case "{profile}":
			to = &in.profile
		default:
			continue
		}
		var err error
		if *to, err = decodeName(segments[i]); err != nil {
			return in, problemf(400, "bad_name", "%s: %s", strings.Trim(want, "{}"), err)
		}
	}
	return in, nil
}

// decodeName reads the name of a user or topic out of a path.
func decodeName(segment []byte) (string, error) {
	name := string(segment)
	if bytes.IndexByte(segment, '%') >= 0 {
		var err error
		if name, err = url.PathUnescape(name); err != nil {
			return "", errors.New("malformed percent-encoding")
		}
	}
	return name, registry.CheckName(name)
}
