package main

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// apiCase is a request, and the status that its answer has.
type apiCase struct {
	method, path, target string // path as in openapi.yaml; target is empty if it is the same
	contentType, body    string // 4MIB and MEGABYTE stand for long bodies, which not every process of the tests is to have
	status               int
}

// The servers that requests are sent to.
const (
	plainServer  = "a server with default limits, alice online"
	lockedServer = "a server with an API key, which is not sent, and without storage"
	openServer   = "a server without storage"
	smallServer  = "a server with small limits, alice online"
	fullServer   = "a server with little room for messages"

	leavingServer = "a server whose sessions are closed"
)

var apiCases = map[string][]apiCase{
	plainServer: {
		{"POST", "/v1/users/{user}/push", "/v1/users/alice/push", typeText, "hello", 200},
		{"POST", "/v1/users/{user}/push", "/v1/users/bob/push?durable=true&id=1&ttl=1h", typeText, "hello", 200},
		{"POST", "/v1/users/{user}/push", "/v1/users/bob/push?durable=maybe", typeText, "hello", 400},
		{"POST", "/v1/topics/{topic}/push", "/v1/topics/weather/push", typeText, "rain", 200},
		{"POST", "/v1/topics/{topic}/push", "/v1/topics/kept/push?id=1", typeText, "rain", 200},
		{"POST", "/v1/topics/{topic}/push", "/v1/topics/weather/push?durable=true", typeText, "rain", 409},
		{"POST", "/v1/topics/{topic}/push", "/v1/topics/%00/push", typeText, "rain", 400},
		{"POST", "/v1/broadcast", "", typeText, "hello", 200},
		{"POST", "/v1/broadcast", "/v1/broadcast?exclude_user=alice&exclude_user=bob&exclude_session=7", typeText, "hello", 200},
		{"POST", "/v1/broadcast", "/v1/broadcast?where=has+platform", typeText, "hello", 200},
		{"POST", "/v1/broadcast", "/v1/broadcast?over=2h", typeText, "hello", 400},
		{"POST", "/v1/broadcast", "/v1/broadcast?over=1h&key=flags", typeText, "hello", 200},
		{"POST", "/v1/topics/{topic}/push", "/v1/topics/weather/push?over=100ms&exclude_user=bob", typeText, "rain", 200},
		{"POST", "/v1/broadcast", "/v1/broadcast?conflate=k&rate=1000/s", "text/plain", "x", 400},
		{"POST", "/v1/push", "", typeJSON, `{"users":["alice"],"conflate":"k","rate":"12/m","text":"x"}`, 200},
		{"POST", "/v1/broadcast", "/v1/broadcast?receipt=true&conflate=k&rate=10/s", "text/plain", "x", 200},
		{"GET", "/v1/receipts/{id}", "/v1/receipts/RECEIPT", "", "", 200}, // the last one
		{"GET", "/v1/receipts/{id}", "/v1/receipts/x", "", "", 404},
		{"GET", "/v1/receipts/{id}", "/v1/receipts/%00", "", "", 400},
		{"GET", "/v1/broadcasts", "", "", "", 200},
		{"GET", "/v1/broadcasts/{id}", "/v1/broadcasts/0000000000000cafecafe", "", "", 404},
		{"GET", "/v1/broadcasts/{id}", "/v1/broadcasts/PACED", "", "", 200}, // the last one that was started
		{"DELETE", "/v1/broadcasts/{id}", "/v1/broadcasts/PACED", "", "", 200},
		{"GET", "/v1/broadcasts/{id}", "/v1/broadcasts/%00", "", "", 400},
		{"DELETE", "/v1/broadcasts/{id}", "/v1/broadcasts/0000000000000cafecafe", "", "", 404},
		{"DELETE", "/v1/broadcasts/{id}", "/v1/broadcasts/%00", "", "", 400},
		{"POST", "/v1/push", "", typeJSON, `{"users":["alice"],"text":"hello"}`, 200},
		{"POST", "/v1/push", "", typeJSON, `{"users":["bob"],"durable":true,"id":"a","data":1}`, 200},
		{"POST", "/v1/push", "", typeJSON, `{"users":["bob","carol"],"topics":["kept"],"durable":true,"data":1}`, 200},
		{"POST", "/v1/push", "", typeJSON, `{"topics":["weather"],"durable":true,"data":1}`, 409},
		{"POST", "/v1/push", "", typeJSON, `{"user":["alice"],"text":"hello"}`, 400},
		{"POST", "/v1/batch", "", typeLines, "{\"users\":[\"alice\"],\"text\":\"1\"}\n\n{\"users\":[\"bob\",\"carol\"],\"durable\":true,\"base64\":\"AA==\"}\nx\n", 200},
		{"GET", "/v1/users/{user}", "/v1/users/alice", "", "", 200},
		{"GET", "/v1/users/{user}", "/v1/users/offline", "", "", 200},
		{"GET", "/v1/users/{user}", "/v1/users/%ff", "", "", 400},
		{"GET", "/v1/users/{user}/inbox", "/v1/users/bob/inbox?after=0", "", "", 200},
		{"GET", "/v1/users/{user}/inbox", "/v1/users/carol/inbox", "", "", 200},
		{"GET", "/v1/users/{user}/inbox", "/v1/users/bob/inbox?after=x", "", "", 400},
		{"GET", "/v1/users/{user}/inbox", "/v1/users/bob/inbox?after=9&epoch=x&limit=1&wait=1s", "", "", 200},
		{"GET", "/v1/topics/{topic}/messages", "/v1/topics/kept/messages", "", "", 200},
		{"GET", "/v1/topics/{topic}/messages", "/v1/topics/kept/messages?after=1&epoch=x&limit=1&wait=1s", "", "", 200},
		{"GET", "/v1/topics/{topic}/messages", "/v1/topics/kept/messages?limit=x", "", "", 400},
		{"GET", "/v1/topics/{topic}/messages", "/v1/topics/live/messages", "", "", 409},
		{"GET", "/v1/messages", "/v1/messages?topic=kept", "", "", 200},
		{"GET", "/v1/messages", "", "", "", 400},
		{"GET", "/v1/messages", "/v1/messages?topic=live", "", "", 409},
		{"DELETE", "/v1/users/{user}/inbox", "/v1/users/bob/inbox", "", "", 200},
		{"DELETE", "/v1/users/{user}/inbox", "/v1/users/%00/inbox", "", "", 400},
		{"GET", "/v1/topics/{topic}", "/v1/topics/weather", "", "", 200},
		{"GET", "/v1/topics/{topic}", "/v1/topics/%00", "", "", 400},
		{"GET", "/v1/topics/{topic}/sessions", "/v1/topics/weather/sessions", "", "", 200},
		{"GET", "/v1/topics/{topic}/sessions", "/v1/topics/%00/sessions", "", "", 400},
		{"GET", "/v1/topics/{topic}/users", "/v1/topics/weather/users?limit=1&after=a", "", "", 200},
		{"GET", "/v1/topics/{topic}/users", "/v1/topics/weather/users?limit=0", "", "", 400},
		{"GET", "/v1/users", "/v1/users?topic=weather&limit=1&after=a", "", "", 200},
		{"GET", "/v1/users", "", "", "", 400},
		{"POST", "/v1/presence", "", typeJSON, `{"users":["alice","offline"]}`, 200},
		{"POST", "/v1/presence", "", typeJSON, `{"user":["alice"]}`, 400},
		{"POST", "/v1/presence", "", typeJSON, "4MIB", 413},
		{"GET", "/v1/nodes", "", "", "", 200},
		{"PUT", "/v1/topics/{topic}/users/{user}", "/v1/topics/news/users/alice", "", "", 200},
		{"PUT", "/v1/topics/{topic}/users/{user}", "/v1/topics/news/users/offline", "", "", 404},
		{"PUT", "/v1/topics/{topic}/users/{user}", "/v1/topics/news/users/%00", "", "", 400},
		{"DELETE", "/v1/topics/{topic}/users/{user}", "/v1/topics/news/users/alice", "", "", 200},
		{"DELETE", "/v1/topics/{topic}/users/{user}", "/v1/topics/news/users/offline", "", "", 404},
		{"DELETE", "/v1/topics/{topic}/users/{user}", "/v1/topics/%00/users/alice", "", "", 400},
		{"GET", "/v1/sessions", "/v1/sessions?user=alice", "", "", 200},
		{"GET", "/v1/sessions", "/v1/sessions?topic=weather", "", "", 200},
		{"GET", "/v1/sessions", "", "", "", 400},
		{"POST", "/v1/users/{user}/refresh", "/v1/users/alice/refresh", typeJSON, `{"subscribe":["weather"],"limits":{"topics":5}}`, 200},
		{"POST", "/v1/users/{user}/refresh", "/v1/users/alice/refresh", typeJSON, `{"subscribes":[]}`, 400},
		{"POST", "/v1/users/{user}/refresh", "/v1/users/offline/refresh", typeJSON, `{"expires":0}`, 404},
		{"POST", "/v1/users/{user}/refresh", "/v1/users/alice/refresh", typeJSON, `{"subscribe":["` + strings.Repeat("x", 64<<10) + `"]}`, 413},
		{"POST", "/v1/refresh", "/v1/refresh?user=alice", typeJSON, `{"subscribe":["weather"],"limits":{"topics":5}}`, 200},
		{"POST", "/v1/refresh", "/v1/refresh?user=alice", typeJSON, `{"subscribes":[]}`, 400},
		{"POST", "/v1/refresh", "/v1/refresh?user=offline", typeJSON, `{"expires":0}`, 404},
		{"POST", "/v1/refresh", "/v1/refresh?user=alice", typeJSON, `{"subscribe":["` + strings.Repeat("x", 64<<10) + `"]}`, 413},
		{"POST", "/v1/revocations", "", typeJSON, `{"token":"a"}`, 200},
		{"POST", "/v1/revocations", "", typeJSON, `{"user":"mallory","before":1}`, 507},
		{"POST", "/v1/revocations", "", typeJSON, `{"users":["mallory"]}`, 400},
		{"POST", "/v1/revocations", "", typeJSON, strings.Repeat(" ", 16<<10+1), 413},
		{"GET", "/v1/revocations", "", "", "", 200},
		{"DELETE", "/v1/revocations", "/v1/revocations?id=a4b1", "", "", 404},
		{"DELETE", "/v1/revocations", "/v1/revocations?id=" + revocationOfA, "", "", 200},
		{"DELETE", "/v1/revocations", "", "", "", 400},
		{"GET", "/v1/inbox", "/v1/inbox?user=bob&after=0", "", "", 200},
		{"GET", "/v1/inbox", "", "", "", 400},
		{"DELETE", "/v1/inbox", "/v1/inbox?user=bob", "", "", 200},
		{"DELETE", "/v1/inbox", "", "", "", 400},
		{"GET", "/v1/subscriptions", "/v1/subscriptions?topic=weather", "", "", 200},
		{"GET", "/v1/subscriptions", "", "", "", 400},
		{"PUT", "/v1/subscriptions", "/v1/subscriptions?user=alice&topic=news", "", "", 200},
		{"PUT", "/v1/subscriptions", "/v1/subscriptions?user=offline&topic=news", "", "", 404},
		{"PUT", "/v1/subscriptions", "", "", "", 400},
		{"DELETE", "/v1/subscriptions", "/v1/subscriptions?user=alice&topic=news", "", "", 200},
		{"DELETE", "/v1/subscriptions", "/v1/subscriptions?user=offline&topic=news", "", "", 404},
		{"DELETE", "/v1/subscriptions", "", "", "", 400},
		{"DELETE", "/v1/sessions", "/v1/sessions?user=offline", "", "", 404},
		{"DELETE", "/v1/sessions", "", "", "", 400},
		{"POST", "/v1/users/{user}/push", "/v1/users/alice/push", typeParts, "hello", 415},
		{"POST", "/v1/topics/{topic}/push", "/v1/topics/weather/push", typeParts, "rain", 415},
		{"POST", "/v1/broadcast", "", typeParts, "hello", 415},
		{"GET", "/healthz", "/healthz?strict=true", "", "", 200},
		{"GET", "/v1/webhooks/dead", "", "", "", 200},
		{"GET", "/v1/webhooks/dead", "/v1/webhooks/dead?after=x", "", "", 400},
		{"POST", "/v1/webhooks/dead/replay", "/v1/webhooks/dead/replay?at=1000000", "", "", 404},
		{"POST", "/v1/webhooks/dead/replay", "/v1/webhooks/dead/replay?at=0", "", "", 400},
		{"POST", "/v1/webhooks/dead/replay", "", "", "", 200},
		{"GET", "/v1/stats", "", "", "", 200},
		{"GET", "/metrics", "", "", "", 200},
		{"GET", "/healthz", "", "", "", 200},
		{"GET", "/readyz", "", "", "", 200},
		{"GET", "/debug/pprof/", "", "", "", 200},
		{"GET", "/debug/pprof/{profile}", "/debug/pprof/allocs", "", "", 200},
		{"GET", "/debug/pprof/{profile}", "/debug/pprof/nothing", "", "", 404},
		{"DELETE", "/v1/users/{user}", "/v1/users/alice?code=1", "", "", 400},
		{"DELETE", "/v1/users/{user}", "/v1/users/alice?code=4000&reason=bye", "", "", 200},
		{"DELETE", "/v1/users/{user}", "/v1/users/offline", "", "", 404},
	},
	leavingServer: {
		{"DELETE", "/v1/sessions", "/v1/sessions?user=alice&code=4000&reason=bye", "", "", 200},
	},
	lockedServer: {
		{"POST", "/v1/users/{user}/push", "/v1/users/alice/push", typeText, "hello", 401},
		{"POST", "/v1/topics/{topic}/push", "/v1/topics/weather/push", typeText, "rain", 401},
		{"POST", "/v1/broadcast", "", typeText, "hello", 401},
		{"GET", "/v1/receipts/{id}", "/v1/receipts/x", "", "", 401},
		{"GET", "/v1/broadcasts", "", "", "", 401},
		{"GET", "/v1/broadcasts/{id}", "/v1/broadcasts/x", "", "", 401},
		{"DELETE", "/v1/broadcasts/{id}", "/v1/broadcasts/x", "", "", 401},
		{"POST", "/v1/push", "", typeJSON, `{"users":["alice"],"text":"hello"}`, 401},
		{"POST", "/v1/batch", "", typeLines, "{}\n", 401},
		{"GET", "/v1/users/{user}", "/v1/users/alice", "", "", 401},
		{"POST", "/v1/users/{user}/refresh", "/v1/users/alice/refresh", typeJSON, `{"expires":0}`, 401},
		{"POST", "/v1/refresh", "", typeJSON, `{"expires":0}`, 401},
		{"DELETE", "/v1/users/{user}", "/v1/users/alice", "", "", 401},
		{"GET", "/v1/users/{user}/inbox", "/v1/users/bob/inbox", "", "", 401},
		{"DELETE", "/v1/users/{user}/inbox", "/v1/users/bob/inbox", "", "", 401},
		{"GET", "/v1/topics/{topic}", "/v1/topics/weather", "", "", 401},
		{"GET", "/v1/topics/{topic}/sessions", "/v1/topics/weather/sessions", "", "", 401},
		{"PUT", "/v1/topics/{topic}/users/{user}", "/v1/topics/news/users/alice", "", "", 401},
		{"DELETE", "/v1/topics/{topic}/users/{user}", "/v1/topics/news/users/alice", "", "", 401},
		{"GET", "/v1/topics/{topic}/users", "/v1/topics/weather/users", "", "", 401},
		{"GET", "/v1/users", "", "", "", 401},
		{"POST", "/v1/presence", "", typeJSON, `{"users":["alice"]}`, 401},
		{"GET", "/v1/nodes", "", "", "", 401},
		{"GET", "/v1/sessions", "", "", "", 401},
		{"DELETE", "/v1/sessions", "", "", "", 401},
		{"GET", "/v1/revocations", "", "", "", 401},
		{"POST", "/v1/revocations", "", typeJSON, `{"user":"a"}`, 401},
		{"DELETE", "/v1/revocations", "", "", "", 401},
		{"GET", "/v1/inbox", "", "", "", 401},
		{"GET", "/v1/messages", "", "", "", 401},
		{"GET", "/v1/topics/{topic}/messages", "/v1/topics/kept/messages", "", "", 401},
		{"DELETE", "/v1/inbox", "", "", "", 401},
		{"GET", "/v1/subscriptions", "", "", "", 401},
		{"PUT", "/v1/subscriptions", "", "", "", 401},
		{"DELETE", "/v1/subscriptions", "", "", "", 401},
		{"GET", "/v1/webhooks/dead", "", "", "", 401},
		{"POST", "/v1/webhooks/dead/replay", "", "", "", 401},
		{"GET", "/v1/stats", "", "", "", 401},
		{"GET", "/metrics", "", "", "", 401},
		{"GET", "/healthz", "", "", "", 200},
		{"GET", "/readyz", "", "", "", 200},
		{"GET", "/debug/pprof/", "", "", "", 401},
		{"GET", "/debug/pprof/{profile}", "/debug/pprof/heap", "", "", 401},
	},
	openServer: {
		{"POST", "/v1/users/{user}/push", "/v1/users/alice/push?durable=true", typeText, "hello", 501},
		{"POST", "/v1/topics/{topic}/push", "/v1/topics/weather/push?durable=true", typeText, "rain", 501},
		{"POST", "/v1/push", "", typeJSON, `{"users":["alice"],"text":"hello","durable":true}`, 501},
		{"GET", "/v1/users/{user}/inbox", "/v1/users/bob/inbox", "", "", 501},
		{"DELETE", "/v1/users/{user}/inbox", "/v1/users/bob/inbox", "", "", 501},
		{"GET", "/v1/revocations", "", "", "", 501},
		{"POST", "/v1/revocations", "", typeJSON, `{"user":"a"}`, 501},
		{"DELETE", "/v1/revocations", "/v1/revocations?id=1", "", "", 501},
		{"GET", "/v1/inbox", "/v1/inbox?user=bob", "", "", 501},
		{"GET", "/v1/messages", "/v1/messages?topic=kept", "", "", 501},
		{"GET", "/v1/topics/{topic}/messages", "/v1/topics/kept/messages", "", "", 501},
		{"DELETE", "/v1/inbox", "/v1/inbox?user=bob", "", "", 501},
		{"GET", "/v1/webhooks/dead", "", "", "", 501},
		{"POST", "/v1/webhooks/dead/replay", "", "", "", 501},
		{"GET", "/debug/pprof/", "", "", "", 404},
	},
	smallServer: {
		{"POST", "/v1/users/{user}/push", "/v1/users/alice/push", typeText, "too long", 413},
		{"POST", "/v1/topics/{topic}/push", "/v1/topics/weather/push", typeText, "too long", 413},
		{"POST", "/v1/broadcast", "", typeText, "too long", 413},
		{"POST", "/v1/push", "", typeJSON, `{"users":["alice"],"text":"too long"}`, 413},
		{"POST", "/v1/users/{user}/push", "/v1/users/bob/push?durable=true", typeText, "1", 200},
		{"POST", "/v1/users/{user}/push", "/v1/users/bob/push?durable=true", typeText, "2", 507},
		{"POST", "/v1/push", "", typeJSON, `{"users":["bob"],"durable":true,"text":"2"}`, 507},
		{"PUT", "/v1/topics/{topic}/users/{user}", "/v1/topics/news/users/alice", "", "", 409},
		{"PUT", "/v1/subscriptions", "/v1/subscriptions?user=alice&topic=news", "", "", 409},
	},
	fullServer: {
		{"POST", "/v1/topics/{topic}/push", "/v1/topics/kept/push", typeText, "1MEGABYTE", 200},
		{"POST", "/v1/topics/{topic}/push", "/v1/topics/kept/push", typeText, "2MEGABYTE", 507},
	},
}

// revocationOfA is the id of a revocation of the token "a".
var revocationOfA = func() string {
	sum := sha256.Sum256([]byte("token\x00a"))
	return hex.EncodeToString(sum[:16])
}()

const typeText, typeJSON, typeLines, typeParts = "text/plain", "application/json", "application/x-ndjson", "multipart/form-data; boundary=x"

// notProvoked are statuses that no request above has.
var notProvoked = map[int]string{
	429: "needs 32 paced broadcasts at a time; a test of package api has them",
	503: "needs a store that fails, or a server that starts or ends",
	505: "net/http does not speak HTTP/1.0",
}
