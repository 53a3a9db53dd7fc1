package pusher

import (
	"crypto/md5" // of a body, which the protocol wants; the signature is what protects it
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// apiVersion and apiClock are what a request must say of itself.
const (
	apiVersion = "1.0"
	apiClock   = 10 * time.Minute // the most that the clocks of both sides may differ
)

// request is a request to the HTTP API that is signed.
type request struct {
	*http.Request
	app   *app
	conf  *App
	query url.Values
	body  []byte
}

// problem is an answer to a request that is rejected.
type problem struct {
	status int
	text   string
}

func problemf(status int, format string, args ...any) *problem {
	return &problem{status, fmt.Sprintf(format, args...)}
}

// Handler returns the HTTP API, at /apps/, for backends. Other paths are those of next; nil: they
// are answered 404.
func (v *Service) Handler(next http.Handler) http.Handler {
	mux := http.NewServeMux()
	for pattern, route := range map[string]route{
		"POST /apps/{id}/events":                             {postEvents, nil},
		"POST /apps/{id}/batch_events":                       {postBatch, nil},
		"GET /apps/{id}/channels":                            {getChannels, []string{"filter_by_prefix", "info"}},
		"GET /apps/{id}/channels/{channel}":                  {getChannel, []string{"info"}},
		"GET /apps/{id}/channels/{channel}/users":            {getUsers, nil},
		"POST /apps/{id}/users/{user}/terminate_connections": {postTerminate, nil},
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			answer, p := v.serve(w, r, route)
			if p != nil {
				http.Error(w, p.text, p.status)
				return
			}
			body, err := json.Marshal(answer, json.Deterministic(true))
			if err != nil {
				panic("BUG: pusher: an answer without JSON: " + err.Error())
			}
			w.Header().Set("Content-Type", "application/json")
			w.Write(body)
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/apps/"):
			mux.ServeHTTP(w, r)
		case next != nil:
			next.ServeHTTP(w, r)
		default:
			http.NotFound(w, r)
		}
	})
}

// route serves requests to a path.
type route struct {
	serve func(*request) (any, *problem)
	query []string // the parameters that it has besides those of the signature
}

// signature are the query parameters of every request.
var signature = []string{"auth_key", "auth_signature", "auth_timestamp", "auth_version", "body_md5"}

// serve checks the signature of a request before it reads its body, and serves it.
func (v *Service) serve(w http.ResponseWriter, r *http.Request, to route) (any, *problem) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, problemf(400, "the query is malformed")
	}
	a := v.apps.Load().byID[r.PathValue("id")]
	if a == nil {
		return nil, problemf(404, "unknown app id %.80q", r.PathValue("id"))
	}
	in := &request{Request: r, app: a, conf: a.conf(), query: q}
	if p := in.authenticate(v.now()); p != nil {
		return nil, p
	}
	if in.conf.Disabled {
		return nil, problemf(403, "the app is disabled")
	}
	// Data is a string in JSON, of which an escape makes up to six bytes of one.
	limit := int64(64<<10 + in.conf.MaxEventChannels*(maxChannel+8) + 6*in.conf.MaxBatch*in.conf.MaxEventBytes)
	if in.body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, limit)); err != nil {
		return nil, problemf(413, "the body is not complete, or has more than %d bytes", limit)
	}
	sum := md5.Sum(in.body)
	given, err := hex.DecodeString(q.Get("body_md5"))
	if (len(in.body) > 0 || q.Has("body_md5")) && (err != nil || subtle.ConstantTimeCompare(sum[:], given) != 1) {
		return nil, problemf(401, "body_md5 is missing, or is not the MD5 of the body")
	}
	for _, name := range slices.Sorted(maps.Keys(q)) {
		if !slices.Contains(signature, name) && !slices.Contains(to.query, name) {
			return nil, problemf(400, "unknown query parameter %.80q: want none but %s", name, strings.Join(slices.Concat(signature, to.query), ", "))
		}
	}
	return to.serve(in)
}

// authenticate checks the signature of the method, the path and the query.
func (in *request) authenticate(now time.Time) *problem {
	q := in.query
	var signed []string
	for _, name := range slices.Sorted(maps.Keys(q)) {
		if len(q[name]) > 1 {
			return problemf(400, "the query repeats %.80q", name)
		}
		if name != "auth_signature" {
			signed = append(signed, strings.ToLower(name)+"="+q.Get(name))
		}
	}
	if q.Get("auth_key") != in.conf.Key {
		return problemf(401, "auth_key is not the key of this app")
	}
	if version := q.Get("auth_version"); version != apiVersion {
		return problemf(401, "auth_version is %.20q: want %s", version, apiVersion)
	}
	at, err := strconv.ParseInt(q.Get("auth_timestamp"), 10, 64)
	if err != nil {
		return problemf(401, "auth_timestamp is missing, or not a number of seconds")
	}
	if d := now.Unix() - at; d > int64(apiClock/time.Second) || d < -int64(apiClock/time.Second) {
		return problemf(401, "auth_timestamp differs by %d s from the time here: want at most %v; check the clocks", d, apiClock)
	}
	query := strings.Join(signed, "&")
	ok := false
	for _, path := range []string{in.URL.Path, in.URL.EscapedPath()} { // libraries sign either
		ok = in.conf.signed(in.Method+"\n"+path+"\n"+query, q.Get("auth_signature")) || ok
	}
	if !ok {
		return problemf(401, "auth_signature is not valid: want that of the method, the path and the query, with the secret of this app")
	}
	return nil
}

// info are the attributes that a request asks for.
type info struct{ users, subscriptions, cache bool }

// parseInfo reads a list of attributes.
func (in *request) parseInfo(list string) (i info, p *problem) {
	for name := range strings.SplitSeq(list, ",") {
		switch strings.TrimSpace(name) {
		case "":
		case "user_count":
			i.users = true
		case "subscription_count":
			i.subscriptions = true
		case "cache":
			i.cache = true
		default:
			return i, problemf(400, "unknown attribute %.80q: want user_count, subscription_count or cache", name)
		}
	}
	return i, nil
}

// channelInfo describes a channel, by the attributes that were asked for and that it has.
type channelInfo struct {
	Occupied      *bool      `json:"occupied,omitzero"`
	Users         *int       `json:"user_count,omitzero"`
	Subscriptions *int       `json:"subscription_count,omitzero"`
	Cache         *cacheInfo `json:"cache,omitzero"`
}

type cacheInfo struct {
	Data string `json:"data"`
	TTL  int    `json:"ttl"` // seconds
}

// describe describes a channel that has a number of subscribers.
func (a *app) describe(channel string, subscribers int, i info) (d channelInfo, p *problem) {
	if i.users && isPresence(channel) {
		users, p := a.users(channel)
		if p != nil {
			return d, p
		}
		n := len(users)
		d.Users = &n
	}
	if i.subscriptions && !isPresence(channel) {
		d.Subscriptions = &subscribers
	}
	if i.cache && isCache(channel) {
		if last, left, ok := a.cache.get(channel, a.service.now()); ok {
			d.Cache = &cacheInfo{hookData(last.data), int(left / time.Second)}
		}
	}
	return d, nil
}
