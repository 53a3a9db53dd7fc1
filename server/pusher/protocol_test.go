package pusher

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"fanfare/server"
)

func md5Hex(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

const succeeded = "pusher_internal:subscription_succeeded "

func TestChannels(t *testing.T) {
	_, srv := start(t, []App{testApp()})
	a, b := dial(t, srv), dial(t, srv)
	for _, channel := range []string{"news", "private-x", "private-encrypted-x"} {
		a.subscribe(channel)
		a.want(succeeded + channel + " {}")
		b.subscribe(channel)
		b.want(succeeded + channel + " {}")
		trigger(t, srv, channel, "hello", `{"a":"\u00e9"}`)
		a.want("hello " + channel + ` {"a":"\u00e9"}`)
		b.want("hello " + channel + ` {"a":"\u00e9"}`)
	}
	// The sender is left out.
	body := fmt.Sprintf(`{"name":"x","channels":["news","private-x"],"data":"1","socket_id":%q}`, a.socket)
	if status, answer := call(t, srv, "POST", "/apps/app1/events", body); status != 200 {
		t.Fatal(status, answer)
	}
	b.want("x news 1", "x private-x 1")
	// Client events reach the others, with their data as it is.
	a.say(`{"event":"client-typing","channel":"private-x","data":{"on":true}}`)
	b.want(`client-typing private-x {"on":true}`)
	a.say(`{"event":"pusher:unsubscribe","data":{"channel":"news"}}`)
	a.say(`{"event":"pusher:ping","data":{}}`)
	a.want("pusher:pong {}")
	trigger(t, srv, "news", "last", "2")
	trigger(t, srv, "private-x", "last", "2")
	a.want("last private-x 2")
	b.want("last news 2", "last private-x 2")
}

func TestPresenceChannel(t *testing.T) {
	v, srv := start(t, []App{testApp()})
	const room = "presence-room"
	a, b, b2 := dial(t, srv), dial(t, srv), dial(t, srv)
	a.subscribe(room, `{"user_id":7,"user_info":{"name":"A"}}`)
	a.want(succeeded + room + ` {"presence":{"count":1,"ids":["7"],"hash":{"7":{"name":"A"}}}}`)
	b.subscribe(room, `{"user_id":"bob"}`)
	b.want(succeeded + room + ` {"presence":{"count":2,"ids":["7","bob"],"hash":{"7":{"name":"A"},"bob":null}}}`)
	a.want("pusher_internal:member_added " + room + ` {"user_id":"bob"}`)
	b2.subscribe(room, `{"user_id":"bob","user_info":1}`)
	if got := b2.next().String(); !strings.Contains(got, `"count":2`) {
		t.Errorf("the second connection got %s", got)
	}
	b2.subscribe(room, `{"user_id":"bob"}`) // again
	if got := b2.next().String(); !strings.Contains(got, `"count":2`) {
		t.Errorf("subscribing again got %s", got)
	}
	a.say(`{"event":"client-hi","channel":"presence-room","data":"x"}`)
	b.want("client-hi " + room + " x by 7")
	if status, answer := call(t, srv, "GET", "/apps/app1/channels/presence-room/users", ""); status != 200 || answer != `{"users":[{"id":"7"},{"id":"bob"}]}` {
		t.Errorf("%d %s", status, answer)
	}
	if status, answer := call(t, srv, "GET", "/apps/app1/channels?filter_by_prefix=presence-&info=user_count", ""); answer != `{"channels":{"presence-room":{"user_count":2}}}` {
		t.Errorf("%d %s", status, answer)
	}
	// A user leaves with the last connection, whichever way that ends.
	b.nc.Close()
	await(t, "the first connection of bob ends", func() bool { return v.appByID("app1").connections.Load() == 2 })
	b2.say(`{"event":"pusher:unsubscribe","data":{"channel":"presence-room"}}`)
	a.want("pusher_internal:member_removed " + room + ` {"user_id":"bob"}`)
	a.nc.Close()
	await(t, "the channel is vacated", func() bool { return len(v.appByID("app1").presence.Channels("")) == 0 })
}

func (v *Service) appByID(id string) *app { return v.apps.Load().byID[id] }

// Mistakes of clients have answers, and no other effect.
func TestMistakes(t *testing.T) {
	app := testApp()
	app.MaxMembers, app.ClientEventsPerSecond = 1, 2
	_, srv := start(t, []App{app}, func(cfg *server.Config) { cfg.TopicsPerSession = 2 })
	c, other := dial(t, srv), dial(t, srv)
	other.subscribe("presence-x", `{"user_id":"1"}`)
	other.next()
	c.subscribe("private-x")
	c.want(succeeded + "private-x {}")
	for _, test := range []struct{ say, want string }{
		{`x`, `pusher:error {"message":"the message is not a JSON object`},
		{`[]`, `pusher:error {"message":"the message is not a JSON object`},
		{`{"data":{}}`, `pusher:error {"message":"the message has no event`},
		{`{"event":"hello"}`, `pusher:error {"code":4302,"message":"unknown event`},
		{`{"event":"pusher:subscribe","data":7}`, `pusher:error {"message":"pusher:subscribe: data is not`},
		{`{"event":"pusher:subscribe","data":"{\"channel\":\"a b\"}"}`, `pusher:subscription_error a b {"type":"ChannelError"`},
		{`{"event":"pusher:subscribe","data":{"channel":"private-y","auth":"key1:00"}}`, `pusher:subscription_error private-y {"type":"AuthError"`},
		{`{"event":"pusher:subscribe","data":{"channel":"private-y"}}`, `pusher:subscription_error private-y {"type":"AuthError"`},
		{`{"event":"pusher:subscribe","data":{"channel":"#server-to-user-7"}}`, `pusher:subscription_error #server-to-user-7 {"type":"AuthError"`},
		{`{"event":"pusher:subscribe","data":{"channel":"#user-7"}}`, `pusher:subscription_error #user-7 {"type":"ChannelError"`},
		{`{"event":"client-x","channel":"news","data":1}`, `pusher:error news {"code":4302,"message":"client events are for private`},
		{`{"event":"client-x","channel":"private-other","data":1}`, `pusher:error private-other {"code":4302,"message":"the connection does not subscribe`},
	} {
		c.say("%s", test.say)
		if got := c.next().String(); !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: %s, want %s", test.say, got, test.want)
		}
	}
	c.subscribe("presence-x", `{"user_id":"2"}`)
	c.want(`pusher:subscription_error presence-x {"type":"LimitReached","error":"the channel has 1 members, which is the maximum","status":403}`)
	c.subscribe("presence-y", `{"user_info":{}}`)
	if got := c.next().String(); !strings.HasPrefix(got, `pusher:subscription_error presence-y {"type":"ChannelError","error":"channel_data: user_id`) {
		t.Error(got)
	}
	c.subscribe("second")
	c.want(succeeded + "second {}")
	c.subscribe("third")
	c.want(`pusher:subscription_error third {"type":"LimitReached","error":"the connection has its maximum number of subscriptions","status":403}`)
	c.subscribe("presence-third", `{"user_id":"1"}`)
	c.want(`pusher:subscription_error presence-third {"type":"LimitReached","error":"the connection has its maximum number of subscriptions","status":403}`)
	for range 5 { // of which 2 pass in one second, or 4 in two
		c.say(`{"event":"client-x","channel":"private-x","data":1}`)
	}
	if got := c.next().String(); got != `pusher:error private-x {"code":4301,"message":"more than 2 client events a second"}` {
		t.Error(got)
	}
}

func TestCloseCodes(t *testing.T) {
	one, off, few := testApp(), testApp(), testApp()
	off.ID, off.Key, off.Disabled = "off", "off", true
	few.ID, few.Key, few.MaxConnections = "few", "few", 1
	few.AllowedOrigins = []string{"https://*.example.com"}
	_, srv := start(t, []App{one, off, few})
	connect(t, srv, "/app/few?protocol=7").next()
	for target, code := range map[string]server.Code{
		"/app/nokey?protocol=7": 4001, "/app/off?protocol=7": 4003, "/app/few?protocol=7": 4004,
		"/app/key1": 4008, "/app/key1?protocol=x": 4006, "/app/key1?protocol=4": 4007, "/app/key1?protocol=8": 4007,
	} {
		t.Run(target, func(t *testing.T) { connect(t, srv, target).wantClose(code) })
	}
}

func TestAllowedOrigins(t *testing.T) {
	app := App{AllowedOrigins: []string{"https://*.example.com", "http://localhost:3000"}}
	for origin, want := range map[string]bool{
		"": true, "https://a.example.com": true, "HTTPS://A.B.EXAMPLE.COM": true, "http://localhost:3000": true,
		"https://example.com": false, "https://.example.com": false, "http://a.example.com": false, "https://a.example.com.evil": false, "https://aexample.com": false, "null": false,
	} {
		if got := app.allows(origin); got != want {
			t.Errorf("%q: %t", origin, got)
		}
	}
	if app := (App{AllowedOrigins: []string{"*"}}); !app.allows("null") {
		t.Error("* does not allow null")
	}
}

func TestSignin(t *testing.T) {
	_, srv := start(t, []App{testApp()})
	app := testApp()
	signin := func(c *client, data string) {
		c.say(`{"event":"pusher:signin","data":{"auth":%q,"user_data":%q}}`, "key1:"+app.sign(c.socket+"::user::"+data), data)
	}
	a, b := dial(t, srv), dial(t, srv)
	signin(a, `{"id":"alice","watchlist":["bob"]}`)
	a.want(`pusher:signin_success {"user_data":"{\"id\":\"alice\",\"watchlist\":[\"bob\"]}"}`,
		`pusher_internal:watchlist_events {"events":[{"name":"offline","user_ids":["bob"]}]}`)
	signin(b, `{"id":"bob"}`)
	b.want(`pusher:signin_success {"user_data":"{\"id\":\"bob\"}"}`)
	a.want(`pusher_internal:watchlist_events {"events":[{"name":"online","user_ids":["bob"]}]}`)
	signin(b, `{"id":"eve"}`)
	if got := b.next(); got.Event != "pusher:error" {
		t.Errorf("signing in as another user: %s", got)
	}
	a.subscribe("#server-to-user-alice")
	a.want(succeeded + "#server-to-user-alice {}")
	b.subscribe("#server-to-user-alice")
	if got := b.next(); got.Event != "pusher:subscription_error" {
		t.Errorf("subscribing to another user: %s", got)
	}
	trigger(t, srv, "#server-to-user-alice", "mail", "1")
	a.want("mail #server-to-user-alice 1")
	if status, answer := call(t, srv, "GET", "/apps/app1/channels", ""); answer != `{"channels":{}}` {
		t.Errorf("channels of users are listed: %d %s", status, answer)
	}
	if status, answer := call(t, srv, "POST", "/apps/app1/users/bob/terminate_connections", "{}"); status != 200 {
		t.Errorf("%d %s", status, answer)
	}
	b.wantClose(4009)
	a.want(`pusher_internal:watchlist_events {"events":[{"name":"offline","user_ids":["bob"]}]}`)
	c := dial(t, srv)
	c.say(`{"event":"pusher:signin","data":{"auth":"key1:00","user_data":"{}"}}`)
	c.wantClose(4009)
}

func TestCacheChannel(t *testing.T) {
	_, srv := start(t, []App{testApp()})
	a, b := dial(t, srv), dial(t, srv)
	a.subscribe("private-cache-x")
	a.want(succeeded+"private-cache-x {}", "pusher:cache_miss private-cache-x")
	trigger(t, srv, "private-cache-x", "price", "7")
	a.want("price private-cache-x 7")
	b.subscribe("private-cache-x")
	b.want(succeeded+"private-cache-x {}", "price private-cache-x 7")
	status, answer := call(t, srv, "GET", "/apps/app1/channels/private-cache-x?info=cache,subscription_count", "")
	if want := `{"occupied":true,"subscription_count":2,"cache":{"data":"7","ttl":`; status != 200 || !strings.HasPrefix(answer, want) {
		t.Errorf("%d %s", status, answer)
	}
}

func TestSubscriptionCount(t *testing.T) {
	app := testApp()
	app.SubscriptionCount = true
	_, srv := start(t, []App{app})
	a, b := dial(t, srv), dial(t, srv)
	a.subscribe("x")
	got := []string{a.next().String(), a.next().String()}
	if slices.Sort(got); got[0] != `pusher_internal:subscription_count x {"subscription_count":1}` {
		t.Fatalf("%q", got)
	}
	b.subscribe("x") // reported when a second has passed
	a.want(`pusher_internal:subscription_count x {"subscription_count":2}`)
}

// What other parts of the server send reaches clients as events.
func TestOtherMessages(t *testing.T) {
	_, srv := start(t, []App{testApp()})
	c := dial(t, srv)
	for _, test := range []struct {
		op      server.Op
		payload string
		want    string
	}{
		{server.Text, `{"event":"mine","data":"x"}`, "mine x"},
		{server.Text, `{"event":`, `fanfare:message {"event":`},
		{server.Text, `rain "at" noon`, `fanfare:message rain "at" noon`},
		{server.Binary, `{"event":"mine"}`, `fanfare:message {"event":"mine"}`},
	} {
		if _, err := srv.Broadcast(t.Context(), server.NewMessage(test.op, []byte(test.payload))); err != nil {
			t.Fatal(err)
		}
		c.want(test.want)
	}
}

// The HTTP API rejects everything that is not signed as it should be.
func TestHTTPRejects(t *testing.T) {
	_, srv := start(t, []App{testApp()})
	const event = `{"name":"x","channels":["a"],"data":"1"}`
	set := func(name, value string) func(url.Values) { return func(q url.Values) { q.Set(name, value) } }
	long := strings.Repeat("x", 10<<10+1)
	for _, test := range []struct {
		name, method, path, body string
		change                   []func(url.Values)
		status                   int
		answer                   string
	}{
		{"fine", "POST", "/apps/app1/events", event, nil, 200, "{}"},
		{"app", "POST", "/apps/app2/events", event, nil, 404, "unknown app id"},
		{"path", "POST", "/apps/app1/nothing", event, nil, 404, ""},
		{"method", "GET", "/apps/app1/events", "", nil, 405, ""},
		{"signature", "POST", "/apps/app1/events", event, []func(url.Values){set("auth_signature", "00")}, 401, "auth_signature"},
		{"key", "POST", "/apps/app1/events", event, []func(url.Values){set("auth_key", "key2")}, 401, "auth_key"},
		{"version", "POST", "/apps/app1/events", event, []func(url.Values){set("auth_version", "2.0")}, 401, "auth_version"},
		{"old", "POST", "/apps/app1/events", event, []func(url.Values){set("auth_timestamp", "1000000000")}, 401, "auth_timestamp differs"},
		{"no time", "POST", "/apps/app1/events", event, []func(url.Values){set("auth_timestamp", "")}, 401, "auth_timestamp is missing"},
		{"body", "POST", "/apps/app1/events", event, []func(url.Values){set("body_md5", md5Hex("x"))}, 401, "body_md5"},
		{"no md5", "POST", "/apps/app1/events", event, []func(url.Values){func(q url.Values) { q.Del("body_md5") }}, 401, "body_md5"},
		{"no JSON", "POST", "/apps/app1/events", "x", nil, 400, "not a JSON object"},
		{"type", "POST", "/apps/app1/events", `{"name":7}`, nil, 400, `"/name"`},
		{"no channel", "POST", "/apps/app1/events", `{"name":"x","data":""}`, nil, 400, "0 channels"},
		{"channels", "POST", "/apps/app1/events", `{"name":"x","data":"","channels":["a"` + strings.Repeat(`,"a"`, 100) + `]}`, nil, 400, "101 channels"},
		{"channel", "POST", "/apps/app1/events", `{"name":"x","data":"","channel":"a b"}`, nil, 400, `channel "a b"`},
		{"internal", "POST", "/apps/app1/events", `{"name":"x","data":"","channel":"#user-7"}`, nil, 400, "channel"},
		{"data", "POST", "/apps/app1/events", `{"name":"x","data":{},"channel":"a"}`, nil, 400, "data: want a string"},
		{"long", "POST", "/apps/app1/events", `{"name":"x","data":"` + long + `","channel":"a"}`, nil, 413, "10241 bytes"},
		{"socket", "POST", "/apps/app1/events", `{"name":"x","data":"","channel":"a","socket_id":"x"}`, nil, 400, "socket_id"},
		{"info", "POST", "/apps/app1/events", `{"name":"x","data":"","channel":"a","info":"x"}`, nil, 400, "unknown attribute"},
		{"batch", "POST", "/apps/app1/batch_events", `{"batch":[` + event + `,{"name":"","channel":"a","data":""}]}`, nil, 400, "event 1: the name"},
		{"long batch", "POST", "/apps/app1/batch_events", `{"batch":[` + event + strings.Repeat(","+event, 10) + `]}`, nil, 400, "11 events"},
		{"users", "GET", "/apps/app1/channels/news/users", "", nil, 400, "only presence channels"},
		{"count", "GET", "/apps/app1/channels?info=user_count", "", nil, 400, "filter_by_prefix"},
		{"empty", "GET", "/apps/app1/channels/news", "", nil, 200, `{"occupied":false}`},
		{"all members", "POST", "/apps/app1/events", `{"name":"x","channels":["a"],"channel":"b","data":"1","socket_id":"1.2","info":"subscription_count"}`, nil, 200, `"channels"`},
		{"members that are null", "POST", "/apps/app1/events", `{"name":"x","channel":"b","data":"1","socket_id":null,"info":null}`, nil, 200, "{}"},
		{"unknown member", "POST", "/apps/app1/events", `{"name":"x","channel":"b","data":"1","tags":{"a":"b"}}`, nil, 400, `unknown member "/tags"`},
		{"member in another case", "POST", "/apps/app1/events", `{"name":"x","channel":"b","data":"1","Socket_ID":"1.2"}`, nil, 400, `unknown member "/Socket_ID"`},
		{"unknown member of a batch", "POST", "/apps/app1/batch_events", `{"batch":[` + event + `],"info":"x"}`, nil, 400, `unknown member "/info"`},
		{"unknown member in a batch", "POST", "/apps/app1/batch_events", `{"batch":[` + event + `,{"name":"x","channel":"b","data":"1","socketId":"1.2"}]}`, nil, 400, `unknown member "/batch/1/socketId"`},
		{"unknown parameter", "POST", "/apps/app1/events?socket_id=1.2", event, nil, 400, `unknown query parameter "socket_id"`},
		{"parameters of channels", "GET", "/apps/app1/channels?info=subscription_count&filter_by_prefix=a", "", nil, 200, `"channels"`},
		{"unknown parameter of channels", "GET", "/apps/app1/channels?prefix=a", "", nil, 400, `unknown query parameter "prefix"`},
		{"unknown parameter of a channel", "GET", "/apps/app1/channels/a?filter_by_prefix=a", "", nil, 400, `unknown query parameter "filter_by_prefix"`},
		{"unknown parameter of users", "GET", "/apps/app1/channels/presence-a/users?info=user_count", "", nil, 400, `unknown query parameter "info"`},
		{"terminate", "POST", "/apps/app1/users/7/terminate_connections", "{}", nil, 200, "{}"},
		{"terminate without a body", "POST", "/apps/app1/users/7/terminate_connections", "", nil, 200, "{}"},
		{"unknown member of terminate", "POST", "/apps/app1/users/7/terminate_connections", `{"code":4001}`, nil, 400, `unknown member "/code"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, answer := call(t, srv, test.method, test.path, test.body, test.change...)
			if status != test.status || !strings.Contains(answer, test.answer) || strings.Contains(answer, testSecret) {
				t.Errorf("%d %s, want %d %s", status, answer, test.status, test.answer)
			}
		})
	}
	resp, err := http.Get("http://" + srv.Addr().String() + "/elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 404 {
		t.Errorf("another path: %d", resp.StatusCode)
	}
}

// The example of the documentation of the protocol.
func TestSignature(t *testing.T) {
	app := App{Key: "278d425bdf160c739803", Secret: "7ad3773142a6692b25b8"}
	if !app.authorizes("278d425bdf160c739803:58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4", "1234.1234", "private-foobar") {
		t.Error("the signature of a private channel is rejected")
	}
	if !app.authorizes("278d425bdf160c739803:31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80", "1234.1234", "presence-foobar", `{"user_id":10,"user_info":{"name":"Mr. Channels"}}`) {
		t.Error("the signature of a presence channel is rejected")
	}
	for _, auth := range []string{"", ":", "278d425bdf160c739803:", "x:58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4"} {
		if app.authorizes(auth, "1234.1234", "private-foobar") {
			t.Errorf("%q is accepted", auth)
		}
	}
}

// Whatever a client sends, it is answered, and the server goes on.
func FuzzReceive(f *testing.F) {
	_, srv := start(f, []App{testApp()})
	for _, seed := range []string{
		`{"event":"pusher:subscribe","data":{"channel":"news"}}`, `{"event":"pusher:subscribe","data":"{\"channel\":\"presence-x\",\"auth\":\"key1:00\",\"channel_data\":\"{}\"}"}`,
		`{"event":"pusher:unsubscribe","data":{"channel":"#server-to-user-"}}`, `{"event":"client-x","channel":"private-x","data":null}`,
		`{"event":"pusher:signin","data":{"auth":"key1:","user_data":"{\"id\":7}"}}`, `{"event":"\ud800","channel":1}`, `null`, ``, "\x00",
	} {
		f.Add([]byte(seed), false)
	}
	f.Add([]byte{1, 2}, true)
	f.Fuzz(func(t *testing.T, payload []byte, binary bool) {
		before := srv.Stats().Panics
		c := dial(t, srv)
		op := ws.OpText
		if binary {
			op = ws.OpBinary
		}
		if err := ws.WriteFrame(c.nc, ws.MaskFrame(ws.NewFrame(op, true, payload))); err != nil {
			t.Skip()
		}
		ws.WriteFrame(c.nc, ws.MaskFrame(ws.NewCloseFrame(nil)))
		io.Copy(io.Discard, c.read)
		if n := srv.Stats().Panics; n != before {
			t.Errorf("%q: a panic", payload)
		}
	})
}
