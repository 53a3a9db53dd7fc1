package pusher

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"fanfare/server"
	nodes "fanfare/server/cluster"
	"fanfare/server/internal/natstest"
	"fanfare/server/node"
	"fanfare/server/presence"
)

// testNode is a node of a cluster. Everything that it says to NATS passes a proxy, so that it can
// be cut off, which is how a killed node looks to the others.
type testNode struct {
	*server.Server
	service  *Service
	presence *presence.Service
	proxy    *proxy
}

func startNode(t *testing.T, nats *natstest.Server, name string, apps ...App) *testNode {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	n := &testNode{proxy: startProxy(t, nats.Addr().String())}
	url := "nats://" + n.proxy.Addr().String()
	p, err := presence.Open(presence.Config{URL: url, Name: name, Occupants: true, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	c, err := nodes.New(t.Context(), nodes.Config{URL: url, Name: name, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	n.presence = p
	n.service, n.Server = startWith(t, Config{Apps: apps, Occupancy: p, Logger: quiet}, func(cfg *server.Config) { cfg.Cluster = c })
	return n
}

// proxy is a TCP proxy.
type proxy struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
	cut   bool
}

func startProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l}
	t.Cleanup(p.stop)
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, in, out)
			if p.cut {
				in.Close()
				out.Close()
			}
			p.mu.Unlock()
			go func() { io.Copy(out, in); out.Close() }()
			go func() { io.Copy(in, out); in.Close() }()
		}
	}()
	return p
}

// stop ends the proxy and its connections.
func (p *proxy) stop() {
	p.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for _, c := range p.conns {
		c.Close()
	}
}

// hookLog is what a webhook was told.
type hookLog struct {
	mu     sync.Mutex
	events []string
}

func (l *hookLog) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var body hookBody
	json.NewDecoder(r.Body).Decode(&body)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range body.Events {
		l.events = append(l.events, strings.TrimSpace(e.Name+" "+e.Channel+" "+e.UserID))
	}
}

// wants waits for these events, sorted, and takes them.
func (l *hookLog) wants(t *testing.T, want ...string) {
	t.Helper()
	slices.Sort(want)
	var got []string
	await(t, strings.Join(want, ", "), func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		got = slices.Sorted(slices.Values(l.events))
		return len(got) >= len(want)
	})
	if !slices.Equal(got, want) {
		t.Fatalf("webhooks %q, want %q", got, want)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = nil
}

// get wants an answer of the HTTP API of a node, in the end.
func get(t *testing.T, n *testNode, path, want string) {
	t.Helper()
	var got string
	defer func() {
		if t.Failed() {
			t.Logf("GET %s: %s", path, got)
		}
	}()
	await(t, path, func() bool {
		_, got = call(t, n.Server, "GET", path, "")
		return got == want
	})
}

// TestCluster: two nodes are one service, and what a node that is killed had held is gone.
func TestCluster(t *testing.T) {
	t.Parallel()
	nats := natstest.Start(t, natsserver.Options{JetStream: true})
	hooks := &hookLog{}
	hook := httptest.NewServer(hooks)
	defer hook.Close()
	app := testApp()
	app.SubscriptionCount, app.MaxMembers = true, 2
	app.Webhooks = []Webhook{{URL: hook.URL, Events: []string{"channel_occupied", "channel_vacated", "member_added", "member_removed"}}}
	a, b := startNode(t, nats, "a", app), startNode(t, nats, "b", app)
	if status, answer := call(t, a.Server, "GET", "/apps/app1/channels/presence-x/users", ""); status != 503 || answer != errNodes.text {
		t.Errorf("before the node knows the others: %d %s", status, answer)
	}
	get(t, a, "/apps/app1/channels/presence-x/users", `{"users":[]}`)
	get(t, b, "/apps/app1/channels/presence-x/users", `{"users":[]}`)

	// Members of both nodes.
	one := dial(t, a.Server)
	one.subscribe("presence-x", `{"user_id":"1","user_info":{"name":"One"}}`)
	one.want(succeeded + `presence-x {"presence":{"count":1,"ids":["1"],"hash":{"1":{"name":"One"}}}}`)
	get(t, b, "/apps/app1/channels/presence-x/users", `{"users":[{"id":"1"}]}`)
	two := dial(t, b.Server)
	two.subscribe("presence-x", `{"user_id":"2"}`)
	two.want(succeeded + `presence-x {"presence":{"count":2,"ids":["1","2"],"hash":{"1":{"name":"One"},"2":null}}}`)
	one.want(`pusher_internal:member_added presence-x {"user_id":"2"}`)
	get(t, b, "/apps/app1/channels/presence-x/users", `{"users":[{"id":"1"},{"id":"2"}]}`)
	again := dial(t, b.Server) // the user is there already, with other data
	again.subscribe("presence-x", `{"user_id":"1","user_info":{"name":"Uno"}}`)
	again.want(succeeded + `presence-x {"presence":{"count":2,"ids":["1","2"],"hash":{"1":{"name":"One"},"2":null}}}`)
	third := dial(t, a.Server)
	third.subscribe("presence-x", `{"user_id":"3"}`)
	if e := third.next(); e.Event != "pusher:subscription_error" || !strings.Contains(e.text(), "LimitReached") {
		t.Errorf("beyond max_members: %s", e)
	}
	hooks.wants(t, "channel_occupied presence-x", "member_added presence-x 1", "member_added presence-x 2")

	// Events, with the exclusion of a client of another node.
	get(t, a, "/apps/app1/channels?filter_by_prefix=presence-&info=user_count", `{"channels":{"presence-x":{"user_count":2}}}`)
	get(t, b, "/apps/app1/channels?info=subscription_count", `{"channels":{"presence-x":{}}}`)
	body, _ := json.Marshal(map[string]any{"name": "e", "channel": "presence-x", "data": "1", "socket_id": two.socket})
	if status, answer := call(t, a.Server, "POST", "/apps/app1/events", string(body)); status != 200 {
		t.Fatalf("%d %s", status, answer)
	}
	one.want("e presence-x 1")
	again.want("e presence-x 1")
	two.say(`{"event":"client-hi","channel":"presence-x","data":"hi"}`)
	one.want("client-hi presence-x hi by 2")
	again.want("client-hi presence-x hi by 2")

	// What needs a single process.
	third.subscribe("cache-x")
	if e := third.next(); e.Event != "pusher:subscription_error" || !strings.Contains(e.text(), errNoCache) {
		t.Errorf("received %s", e)
	}
	if status, answer := call(t, a.Server, "POST", "/apps/app1/events", `{"name":"e","channel":"private-cache-x","data":"1"}`); status != 400 || !strings.Contains(answer, errNoCache) {
		t.Errorf("%d %s", status, answer)
	}

	// Counts.
	counters := []*client{dial(t, a.Server), dial(t, b.Server)}
	for _, c := range counters {
		c.subscribe("news")
		c.want(succeeded + "news {}")
	}
	for _, c := range counters {
		wantCount(t, c, 2)
	}
	get(t, a, "/apps/app1/channels/news?info=subscription_count", `{"occupied":true,"subscription_count":2}`)
	hooks.wants(t, "channel_occupied news")

	// Users who sign in, and those who watch them.
	signin := func(c *client, data string) {
		t.Helper()
		conf := testApp()
		in, _ := json.Marshal(map[string]string{"auth": conf.Key + ":" + conf.sign(c.socket+"::user::"+data), "user_data": data})
		c.say(`{"event":"pusher:signin","data":%s}`, in)
		if e := c.next(); e.Event != "pusher:signin_success" {
			t.Fatalf("received %s", e)
		}
	}
	watcher := dial(t, a.Server)
	signin(watcher, `{"id":"w","watchlist":["9"]}`)
	watcher.want(`pusher_internal:watchlist_events {"events":[{"name":"offline","user_ids":["9"]}]}`)
	await(t, "b knows that w has signed in", func() bool { return b.service.apps.Load().byID["app1"].online("w") })
	nine := dial(t, b.Server)
	signin(nine, `{"id":"9","watchlist":["w"]}`)
	nine.want(`pusher_internal:watchlist_events {"events":[{"name":"online","user_ids":["w"]}]}`)
	watcher.want(`pusher_internal:watchlist_events {"events":[{"name":"online","user_ids":["9"]}]}`)
	if status, answer := call(t, a.Server, "POST", "/apps/app1/users/9/terminate_connections", ""); status != 200 {
		t.Errorf("%d %s", status, answer)
	}
	last := nine.next()
	for last.Event == "pusher_internal:watchlist_events" { // w may be reported as online once more
		last = nine.next()
	}
	if !strings.Contains(last.text(), `"code":4009`) {
		t.Errorf("received %s, want an error with 4009", last)
	}
	nine.nc.Close()
	watcher.want(`pusher_internal:watchlist_events {"events":[{"name":"offline","user_ids":["9"]}]}`)

	// A node is killed: user 1 has a connection to the other one.
	signin(dial(t, b.Server), `{"id":"9"}`)
	watcher.want(`pusher_internal:watchlist_events {"events":[{"name":"online","user_ids":["9"]}]}`)
	b.proxy.stop()
	if status, answer := call(t, a.Server, "POST", "/apps/app1/users/9/terminate_connections", ""); status != 503 {
		t.Errorf("a node does not answer: %d %s", status, answer)
	}
	one.want(`pusher_internal:member_removed presence-x {"user_id":"2"}`)
	watcher.want(`pusher_internal:watchlist_events {"events":[{"name":"offline","user_ids":["9"]}]}`)
	wantCount(t, counters[0], 1)
	get(t, a, "/apps/app1/channels/presence-x/users", `{"users":[{"id":"1"}]}`)
	hooks.wants(t, "member_removed presence-x 2")
	one.nc.Close()
	hooks.wants(t, "member_removed presence-x 1", "channel_vacated presence-x")
	if status, answer := call(t, b.Server, "GET", "/apps/app1/channels/presence-x/users", ""); status != 503 || answer != errNodes.text {
		t.Errorf("a node without NATS: %d %s", status, answer)
	}
}

// TestEventNotConfirmed: an event that a node has not confirmed is answered with 200, so that it is
// not published again, and with "complete":false.
func TestEventNotConfirmed(t *testing.T) {
	t.Parallel()
	nats := natstest.Start(t, natsserver.Options{JetStream: true})
	app := testApp()
	a, b := startNode(t, nats, "a", app), startNode(t, nats, "b", app)
	dial(t, b.Server).subscribe("news")
	const event = `{"name":"x","channel":"news","data":"1"}`
	await(t, "the nodes know each other", func() bool {
		d, err := a.Publish(t.Context(), b.service.appByID("app1").topic("news"), server.NewMessage(server.Text, []byte("x")))
		return err == nil && d.Complete() && d.Receivers == 1
	})
	if status, answer := call(t, a.Server, "POST", "/apps/app1/events", event); status != 200 || answer != "{}" {
		t.Errorf("%d %s", status, answer)
	}
	b.proxy.stop()
	for path, body := range map[string]string{"events": event, "batch_events": `{"batch":[` + event + `]}`} {
		if status, answer := call(t, a.Server, "POST", "/apps/app1/"+path, body); status != 200 || answer != `{"complete":false}` {
			t.Errorf("%s: %d %s", path, status, answer)
		}
	}
}

// wantCount waits until a client of news is told a number of subscribers.
func wantCount(t *testing.T, c *client, n int) {
	t.Helper()
	for {
		e := c.next()
		if e.Event != "pusher_internal:subscription_count" || e.Channel != "news" {
			t.Fatalf("received %s", e)
		}
		var count subscriptionCount
		if json.Unmarshal([]byte(e.text()), &count); count.Count == n {
			return
		}
	}
}

// Nodes may know different things of a member, who joins once and leaves with the last of them.
func TestRoster(t *testing.T) {
	r := make(roster)
	set := func(present, changed bool, topic, member, info string) {
		t.Helper()
		c := node.OccupantChange{Occupant: node.Occupant{Topic: topic, Member: member, Info: info}, Present: present}
		if r.set(&c) != changed {
			t.Errorf("%+v: changed is %t", c, !changed)
		}
	}
	set(false, false, "t", "u", "1")
	set(true, true, "t", "u", "1")
	set(true, false, "t", "u", "1")
	set(true, false, "t", "u", "2")
	set(true, true, "t", "", "")
	set(true, true, "t", "v", "not JSON")
	set(false, false, "t", "u", "1")
	if got := r.members("t"); len(got) != 3 || string(got[1].Info) != "2" || got[2].Info != nil {
		t.Errorf("members %+v", got)
	}
	if got := r.others([]node.OccupantChange{{Occupant: node.Occupant{Topic: "t", Member: "u", Info: "2"}, Present: true}, {Occupant: node.Occupant{Topic: "t"}}}); len(got) != 2 {
		t.Errorf("others %+v", got)
	}
	set(false, true, "t", "u", "2")
	set(false, true, "t", "v", "not JSON")
	set(false, true, "t", "", "")
	if len(r) > 0 {
		t.Errorf("left: %v", r)
	}
}

// A server with a Cluster needs an Occupancy, and the reverse.
func TestServeRejects(t *testing.T) {
	v, err := New(Config{Apps: []App{testApp()}, Occupancy: occupancy{}})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	srv, err := server.New(server.Config{Listen: "127.0.0.1:0", Endpoints: []server.Endpoint{v.Endpoint()}})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Shutdown(context.Background())
	if err := v.Serve(srv); err == nil || !strings.Contains(err.Error(), "both or neither") {
		t.Error(err)
	}
}

type occupancy struct{}

func (occupancy) Occupy(node.Occupant, bool)           {}
func (occupancy) ServeOccupants(node.OccupantObserver) {}
func (occupancy) Current() bool                        { return false }
