package api

import (
	"bytes"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"fanfare/registry"
	"fanfare/server/api/internal/problem"
	"fanfare/server/api/internal/query"
)

// route is a path of the API. A segment in braces is a name, which may contain any
// characters if they are percent-encoded, "/" among them.
type route struct {
	path    []string
	open    bool // needs no key
	pprof   bool // exists only with Config.Pprof
	methods []method
}

type method struct {
	name  string
	serve func(a *API, ctx *fasthttp.RequestCtx, in names) *problem.Problem
	query []string // the parameters it takes
	body  bool     // whether it takes a body
	// long: its duration says nothing about the server, and is not measured.
	long bool
	// waits: so does its duration if the query has wait.
	waits bool
	// errors are the statuses that it answers in addition to those of every method. The
	// metrics have a counter for each from the start.
	errors []int
}

// names are the decoded and checked names of a request.
type names struct{ user, topic, profile, id string }

var (
	listQuery   = []string{"prefix", "after", "limit"}
	storedQuery = []string{"durable", "ttl", "id", "escalate"}
	closeQuery  = []string{"code", "reason"}
	noStore     = []int{501, 503, 507}
)

// routes are the routes of the API. GET serves HEAD, too. A path that contains names has a
// second form with the names in the query, for callers behind proxies that decode or clean
// paths; POST /v1/push has names in its body.
var routes = []route{
	{path: split("/healthz"), open: true, methods: []method{{name: "GET", serve: (*API).healthz, query: []string{"strict"}, errors: []int{503}}}},
	{path: split("/readyz"), open: true, methods: []method{{name: "GET", serve: (*API).readyz, errors: []int{503}}}},

	{path: split("/v1/broadcast"), methods: []method{{name: "POST", serve: (*API).broadcast, query: slices.Concat(paceQuery, liveQuery), body: true, errors: []int{429, 503}}}},
	{path: split("/v1/broadcasts"), methods: []method{{name: "GET", serve: (*API).getBroadcasts}}},
	{path: split("/v1/broadcasts/{id}"), methods: []method{
		{name: "GET", serve: (*API).getBroadcast, errors: []int{404, 503}},
		{name: "DELETE", serve: (*API).deleteBroadcast, errors: []int{404, 503}}}},
	{path: split("/v1/receipts/{id}"), methods: []method{{name: "GET", serve: (*API).getReceipt, errors: []int{404, 503}}}},
	{path: split("/v1/users/{user}/push"), methods: []method{{name: "POST", serve: (*API).pushUser, query: slices.Concat(storedQuery, liveQuery), body: true, errors: noStore}}},
	{path: split("/v1/topics/{topic}/push"), methods: []method{{name: "POST", serve: (*API).pushTopic, query: slices.Concat(storedQuery, paceQuery, liveQuery), body: true, errors: append([]int{409, 429}, noStore...)}}},
	{path: split("/v1/push"), methods: []method{{name: "POST", serve: (*API).pushDocument, body: true, errors: append([]int{409}, noStore...)}}},
	{path: split("/v1/batch"), methods: []method{{name: "POST", serve: (*API).batch, body: true, long: true, errors: []int{503, 505}}}},

	{path: split("/v1/users/{user}"), methods: []method{
		{name: "GET", serve: (*API).getUser},
		{name: "DELETE", serve: (*API).deleteUser, query: closeQuery, errors: []int{404, 503}}}},
	{path: split("/v1/users/{user}/refresh"), methods: []method{{name: "POST", serve: (*API).refreshUser, body: true, errors: []int{404, 503}}}},
	{path: split("/v1/users/{user}/inbox"), methods: []method{
		{name: "GET", serve: (*API).getInbox, query: historyQuery, waits: true, errors: append([]int{429}, noStore...)},
		{name: "DELETE", serve: (*API).deleteInbox, errors: noStore}}},
	{path: split("/v1/topics/{topic}"), methods: []method{{name: "GET", serve: (*API).getTopic, errors: []int{503}}}},
	{path: split("/v1/topics/{topic}/messages"), methods: []method{{name: "GET", serve: (*API).getMessages, query: historyQuery, waits: true, errors: append([]int{409, 429}, noStore...)}}},
	{path: split("/v1/topics/{topic}/sessions"), methods: []method{{name: "GET", serve: (*API).getSubscribers}}},
	{path: split("/v1/topics/{topic}/users/{user}"), methods: []method{
		{name: "PUT", serve: (*API).putSubscriber, errors: []int{404, 409, 503}},
		{name: "DELETE", serve: (*API).deleteSubscriber, errors: []int{404, 503}}}},

	{path: split("/v1/topics/{topic}/users"), methods: []method{{name: "GET", serve: (*API).getTopicUsers, query: pageQuery, errors: []int{503}}}},
	{path: split("/v1/users"), methods: []method{{name: "GET", serve: (*API).getUsers, query: append([]string{"topic"}, listQuery...), errors: []int{503}}}},
	{path: split("/v1/topics"), methods: []method{{name: "GET", serve: (*API).getTopics, query: listQuery, errors: []int{503}}}},
	{path: split("/v1/users/{user}/sessions"), methods: []method{{name: "GET", serve: (*API).getSessionPage, query: append([]string{"topic"}, sessionQuery...), errors: []int{503}}}},
	{path: split("/v1/presence"), methods: []method{{name: "POST", serve: (*API).postPresence, body: true, errors: []int{503}}}},
	{path: split("/v1/nodes"), methods: []method{{name: "GET", serve: (*API).getNodes}}},

	{path: split("/v1/sessions"), methods: []method{
		{name: "GET", serve: (*API).getSessions, query: append([]string{"user", "topic"}, sessionQuery...), errors: []int{503}},
		{name: "DELETE", serve: (*API).deleteSessions, query: append([]string{"user", "id"}, closeQuery...), errors: []int{404, 503}}}},
	{path: split("/v1/users/{user}/trace"), methods: []method{{name: "GET", serve: (*API).getTrace, query: traceQuery, long: true, errors: []int{429, 503, 505}}}},
	{path: split("/v1/trace"), methods: []method{{name: "GET", serve: withNames((*API).getTrace, "user"), query: append([]string{"user"}, traceQuery...), long: true, errors: []int{429, 503, 505}}}},
	{path: split("/v1/sessions/{id}"), methods: []method{{name: "DELETE", serve: (*API).deleteSession, query: closeQuery, errors: []int{404, 503}}}},
	{path: split("/v1/close"), methods: []method{
		{name: "GET", serve: (*API).getCloses, errors: []int{503}},
		{name: "POST", serve: (*API).postClose, body: true, errors: []int{404, 429, 503}}}},
	{path: split("/v1/close/{id}"), methods: []method{
		{name: "GET", serve: (*API).getClose, errors: []int{404, 503}},
		{name: "DELETE", serve: (*API).deleteClose, errors: []int{404, 503}}}},
	{path: split("/v1/refresh"), methods: []method{{name: "POST", serve: withNames((*API).refreshUser, "user"), query: []string{"user"}, body: true, errors: []int{404, 503}}}},
	{path: split("/v1/revocations"), methods: []method{
		{name: "GET", serve: (*API).getRevocations, errors: []int{501, 503}},
		{name: "POST", serve: (*API).postRevocation, body: true, errors: noStore},
		{name: "DELETE", serve: (*API).deleteRevocation, query: []string{"id"}, errors: append([]int{404}, noStore...)}}},
	{path: split("/v1/inbox"), methods: []method{
		{name: "GET", serve: withNames((*API).getInbox, "user"), query: append([]string{"user"}, historyQuery...), waits: true, errors: append([]int{429}, noStore...)},
		{name: "DELETE", serve: withNames((*API).deleteInbox, "user"), query: []string{"user"}, errors: noStore}}},
	{path: split("/v1/messages"), methods: []method{{name: "GET", serve: withNames((*API).getMessages, "topic"), query: append([]string{"topic"}, historyQuery...), waits: true, errors: append([]int{409, 429}, noStore...)}}},
	{path: split("/v1/subscriptions"), methods: []method{
		{name: "GET", serve: withNames((*API).getTopic, "topic"), query: []string{"topic"}, errors: []int{503}},
		{name: "PUT", serve: withNames((*API).putSubscriber, "user", "topic"), query: []string{"user", "topic"}, errors: []int{404, 409, 503}},
		{name: "DELETE", serve: withNames((*API).deleteSubscriber, "user", "topic"), query: []string{"user", "topic"}, errors: []int{404, 503}}}},

	{path: split("/v1/webhooks/dead"), methods: []method{{name: "GET", serve: (*API).getDead, query: []string{"after"}, errors: []int{501, 503}}}},
	{path: split("/v1/webhooks/dead/replay"), methods: []method{{name: "POST", serve: (*API).replayDead, query: []string{"at"}, errors: []int{404, 501, 503}}}},

	{path: split("/debug/pprof"), pprof: true, methods: []method{{name: "GET", serve: (*API).profiles}}},
	{path: split("/debug/pprof/"), pprof: true, methods: []method{{name: "GET", serve: (*API).profiles}}},
	{path: split("/debug/pprof/{profile}"), pprof: true, methods: []method{{name: "GET", serve: (*API).profile, query: []string{"seconds", "debug", "gc"}, long: true, errors: []int{404, 409}}}},
	{path: split("/metrics"), methods: []method{{name: "GET", serve: (*API).metrics, query: []string{"name[]"}}}},
	{path: split("/v1/stats"), methods: []method{{name: "GET", serve: (*API).stats}}},
}

func split(path string) []string { return strings.Split(path[1:], "/") }

// pattern returns the path as it is written in the table.
func (r *route) pattern() string { return "/" + strings.Join(r.path, "/") }

// maxSegments is one more than the number of segments of the longest route.
const maxSegments = 6

// originForm returns the path and query of a target. RFC 9112 section 3.2.2: a server
// accepts http://host/path, too.
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

// cutPath cuts a path that begins with "/" into segments, which may be empty, and returns
// their number, at most len(into).
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

// method returns the method of a request, and nil if the route does not have it.
func (r *route) method(name []byte) *method {
	if string(name) == "HEAD" {
		name = []byte("GET")
	}
	for i := range r.methods {
		if m := &r.methods[i]; m.name == string(name) {
			return m
		}
	}
	return nil
}

// allow lists the methods of a route, for the Allow field.
func (r *route) allow() string {
	var list []string
	for _, m := range r.methods {
		list = append(list, m.name)
		if m.name == "GET" {
			list = append(list, "HEAD")
		}
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// names decodes the names in the path.
func (r *route) names(segments [][]byte) (in names, p *problem.Problem) {
	for i, want := range r.path {
		if !strings.HasPrefix(want, "{") {
			continue
		}
		field := strings.Trim(want, "{}")
		name, err := decodeName(segments[i])
		if err != nil {
			return in, problem.Errorf(400, "bad_name", "%s: %s", field, err)
		}
		in.set(field, name)
	}
	return in, nil
}

func (in *names) set(field, name string) {
	switch field {
	case "user":
		in.user = name
	case "topic":
		in.topic = name
	case "id":
		in.id = name
	case "profile":
		in.profile = name
	}
}

// decodeName returns the name of a user or topic from a segment of a path.
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

// withNames returns a handler that reads names from the query and calls serve with them.
func withNames(serve func(*API, *fasthttp.RequestCtx, names) *problem.Problem, fields ...string) func(*API, *fasthttp.RequestCtx, names) *problem.Problem {
	return func(a *API, ctx *fasthttp.RequestCtx, in names) *problem.Problem {
		for _, field := range fields {
			name, p := query.Name(ctx.QueryArgs(), field)
			if p != nil {
				return p
			}
			in.set(field, name)
		}
		return serve(a, ctx, in)
	}
}
