package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"fanfare/server/store"
)

// fakeCluster connects servers of one process: each asks the others directly.
type fakeCluster struct {
	name  string
	peers *[]*fakeCluster
	node  Node

	mu           sync.Mutex
	missing      int // nodes that do not answer. guarded by mu, as all below
	missingNodes []string
	askErr       error // of Ask
	checkErr     error // of Check
	alone        bool  // Shared reports false
	panics       string
	holds        map[Target]int
	asked        []Command
}

func newFakeClusters(n int) (all []*fakeCluster) {
	for i := range n {
		all = append(all, &fakeCluster{name: fmt.Sprint("node/", i), holds: make(map[Target]int)})
	}
	for _, c := range all {
		c.peers = &all
	}
	return all
}

func (f *fakeCluster) maybePanic(method string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.panics == method {
		panic("in " + method)
	}
}

func (f *fakeCluster) Join(n Node) error { f.maybePanic("Join"); f.node = n; return nil }
func (f *fakeCluster) Hold(t Target) {
	f.maybePanic("Hold")
	f.mu.Lock()
	defer f.mu.Unlock()
	f.holds[t]++
}
func (f *fakeCluster) Release(t Target) {
	f.maybePanic("Release")
	f.mu.Lock()
	defer f.mu.Unlock()
	f.holds[t]--
}
func (f *fakeCluster) Sync(context.Context, Target) error { f.maybePanic("Sync"); return nil }
func (f *fakeCluster) Check(c *Command) error {
	f.maybePanic("Check")
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.checkErr
}
func (f *fakeCluster) Ask(_ context.Context, _ Target, c *Command) (a Answer, err error) {
	f.maybePanic("Ask")
	f.mu.Lock()
	a.Missing, a.MissingNodes, err = f.missing, slices.Clone(f.missingNodes), f.askErr
	f.asked = append(f.asked, *c)
	f.mu.Unlock()
	if err != nil {
		return a, err
	}
	for _, peer := range *f.peers {
		if peer != f && peer.node != nil {
			r := peer.node.Serve(c)
			r.Node = peer.name
			a.Replies = append(a.Replies, r)
		}
	}
	return a, nil
}
func (f *fakeCluster) Shared(Target) bool {
	f.maybePanic("Shared")
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.alone
}
func (f *fakeCluster) Name() string { f.maybePanic("Name"); return f.name }
func (f *fakeCluster) Nodes() int   { f.maybePanic("Nodes"); return len(*f.peers) }
func (f *fakeCluster) Ready() error { f.maybePanic("Ready"); return nil }
func (f *fakeCluster) Leave()       { f.maybePanic("Leave") }

func (f *fakeCluster) set(change func(f *fakeCluster)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// Every way to send reports which nodes did not take part. A message that the cluster
// cannot carry is delivered nowhere, not on this node either.
func TestCoverage(t *testing.T) {
	cluster := newFakeClusters(2)
	a, b := start(t, Config{Cluster: cluster[0]}), start(t, Config{Cluster: cluster[1]})
	here, there := dial(t, a, "/ws?user=u&topic=t"), dial(t, b, "/ws?user=u&topic=t")
	m := NewMessage(Text, []byte("m"))
	ways := map[string]func() (Delivery, error){
		"Push":          func() (Delivery, error) { return a.Push(t.Context(), "u", m) },
		"Publish":       func() (Delivery, error) { return a.Publish(t.Context(), "t", m) },
		"PublishExcept": func() (Delivery, error) { return a.PublishExcept(t.Context(), "t", m, nil) },
		"Broadcast":     func() (Delivery, error) { return a.Broadcast(t.Context(), m) },
		"PushMany":      func() (Delivery, error) { return a.PushMany(t.Context(), []string{"u"}, []string{"t"}, m) },
	}
	for name, send := range ways {
		for _, test := range []struct {
			name        string
			missing     int
			ask, check  error
			alone       bool
			receivers   int
			unreachable error
			err         error
		}{
			{name: "all answer", receivers: 2},
			{name: "no other node is known to hold it", alone: true, receivers: 2},
			{name: "one is missing", missing: 1, receivers: 2},
			{name: "none can be reached", missing: 3, ask: ErrUnreachable, receivers: 1, unreachable: ErrUnreachable},
			{name: "none can be reached, none known", ask: ErrUnreachable, alone: true, receivers: 1, unreachable: ErrUnreachable},
			{name: "too big for the cluster", check: fmt.Errorf("cluster: %w", ErrTooBig), err: ErrTooBig},
			{name: "invalid", check: ErrInvalidCommand, err: ErrInvalidCommand},
		} {
			t.Run(name+"/"+test.name, func(t *testing.T) {
				cluster[0].set(func(f *fakeCluster) {
					f.missing, f.askErr, f.checkErr, f.alone = test.missing, test.ask, test.check, test.alone
				})
				d, err := send()
				if !errors.Is(err, test.err) || test.err == nil && err != nil {
					t.Fatalf("error %v, want %v", err, test.err)
				}
				if d.Receivers != test.receivers || d.Missing != test.missing || !errors.Is(d.Unreachable, test.unreachable) {
					t.Errorf("got %+v", d)
				}
				if want := test.missing == 0 && test.unreachable == nil; d.Complete() != want {
					t.Errorf("Complete() = %t", d.Complete())
				}
				// A following message shows whether the first one arrived.
				push(b, "u", Text, []byte("end"))
				if test.err == nil {
					here.want(Text, "m")
				}
				here.want(Text, "end")
				if test.err == nil && test.ask == nil {
					there.want(Text, "m")
				}
				there.want(Text, "end")
			})
		}
	}
	t.Run("longer than MaxPayload", func(t *testing.T) {
		cluster[0].set(func(f *fakeCluster) { f.checkErr, f.asked = nil, nil })
		long := NewMessage(Binary, make([]byte, a.cfg.MaxPayload+1))
		if _, err := a.Push(t.Context(), "u", long); !errors.Is(err, ErrTooBig) {
			t.Errorf("error %v", err)
		}
		if len(cluster[0].asked) != 0 {
			t.Error("the other node was asked")
		}
	})
}

// Calls that send no message reach the sessions of all nodes as well.
func TestCallsOnAllNodes(t *testing.T) {
	cluster := newFakeClusters(2)
	a, b := start(t, Config{Cluster: cluster[0], CloseTimeout: tick}), start(t, Config{Cluster: cluster[1], CloseTimeout: tick})
	here, there := dial(t, a, "/ws?user=u"), dial(t, b, "/ws?user=u")
	ctx := t.Context()
	if d, err := a.SubscribeUser(ctx, "u", "t"); d.Receivers != 2 || err != nil {
		t.Errorf("SubscribeUser: %+v, %v", d, err)
	}
	if d, err := b.Subscribers(ctx, "t"); d.Receivers != 2 || err != nil {
		t.Errorf("Subscribers: %+v, %v", d, err)
	}
	for _, list := range []SessionList{a.Sessions(ctx, "u"), b.TopicSessions(ctx, "t")} {
		if !list.Complete() || len(list.Sessions) != 2 || list.Sessions[0].Node == list.Sessions[1].Node || list.Sessions[0].ID == list.Sessions[1].ID {
			t.Errorf("sessions %+v", list)
		}
	}
	if d, err := a.PublishExcept(ctx, "t", NewMessage(Text, []byte("not b's")), only(t, b, "u")); d.Receivers != 1 || err != nil {
		t.Errorf("PublishExcept: %+v, %v", d, err)
	}
	if d, err := a.PublishExcept(ctx, "t", NewMessage(Text, []byte("not a's")), only(t, a, "u")); d.Receivers != 1 || err != nil {
		t.Errorf("PublishExcept: %+v, %v", d, err)
	}
	here.want(Text, "not b's")
	there.want(Text, "not a's")
	if d, err := a.UnsubscribeUser(ctx, "u", "t"); d.Receivers != 2 || err != nil {
		t.Errorf("UnsubscribeUser: %+v, %v", d, err)
	}
	if d, err := b.Disconnect(ctx, "u", 4000, "bye"); d.Receivers != 2 || err != nil {
		t.Errorf("Disconnect: %+v, %v", d, err)
	}
	here.wantClose(4000)
	there.wantClose(4000)
	await(t, "the interest ends", func() bool {
		cluster[0].mu.Lock()
		defer cluster[0].mu.Unlock()
		return cluster[0].holds[Target{User: "u"}] == 0
	})
}

// Commands of other nodes may come from any program with access to NATS. An invalid one
// is answered with an error, and nothing reaches a client, whatever the verb.
func TestServeRejectsInvalidCommands(t *testing.T) {
	cfg := withTopics(t)
	cluster := newFakeClusters(1)
	cfg.Cluster = cluster[0]
	log := new(logBuffer)
	cfg.Logger = log.logger()
	srv := start(t, cfg)
	c := dial(t, srv, "/ws?user=u&topic=t", speaksV1)
	c.hear()
	n, bad := member{srv}, "a\x00b"
	long, notUTF8 := strings.Repeat("x", 300), "\xff"
	for name, cmd := range map[string]Command{
		"no verb":                      {},
		"unknown verb":                 {Verb: VerbRefresh + 1, User: "u"},
		"last verb":                    {Verb: 255},
		"push: ping":                   {Verb: VerbPush, User: "u", Op: 9, Payload: make([]byte, 126)},
		"push: close frame":            {Verb: VerbPush, User: "u", Op: 8, Payload: []byte{3, 0xe8}},
		"push: continuation":           {Verb: VerbPush, User: "u", Op: 0},
		"push: reserved opcode":        {Verb: VerbPush, User: "u", Op: 3},
		"push: opcode of two frames":   {Verb: VerbPush, User: "u", Op: 0x81},
		"push: text that is not UTF-8": {Verb: VerbPush, User: "u", Op: Text, Payload: []byte(notUTF8)},
		"push: control character":      {Verb: VerbPush, User: bad, Op: Text},
		"push: long name":              {Verb: VerbPush, User: long, Op: Text},
		"push: no name":                {Verb: VerbPush, Op: Text},
		"push: beyond MaxPayload":      {Verb: VerbPush, User: "u", Op: Binary, Payload: make([]byte, srv.cfg.MaxPayload+1)},
		"publish: ping":                {Verb: VerbPublish, Topic: "t", Op: 9},
		"publish: not UTF-8":           {Verb: VerbPublish, Topic: "t", Op: Text, Payload: []byte(notUTF8)},
		"publish: no name":             {Verb: VerbPublish, Op: Text},
		"publish: bad name":            {Verb: VerbPublish, Topic: notUTF8, Op: Text},
		"broadcast: close frame":       {Verb: VerbBroadcast, Op: 8},
		"broadcast: not UTF-8":         {Verb: VerbBroadcast, Op: Text, Payload: []byte(notUTF8)},
		"push many: bad user":          {Verb: VerbPushMany, Users: []string{"u", bad}, Op: Text},
		"push many: bad topic":         {Verb: VerbPushMany, Topics: []string{"t", ""}, Op: Text},
		"push many: pong":              {Verb: VerbPushMany, Users: []string{"u"}, Op: 10},
		"stored: no box":               {Verb: VerbStored, Epoch: "e", Offset: 1, Op: Text},
		"stored: two boxes":            {Verb: VerbStored, Epoch: "e", User: "u", Topic: "t", Offset: 1, Op: Text},
		"stored: ping":                 {Verb: VerbStored, Epoch: "e", User: "u", Offset: 1, Op: 9},
		"stored: no offset":            {Verb: VerbStored, User: "u", Epoch: "e", Op: Text},
		"stored: no epoch":             {Verb: VerbStored, User: "u", Offset: 1, Op: Text},
		"stored: offset of 2^63":       {Verb: VerbStored, Epoch: "e", User: "u", Offset: 1 << 63, Op: Text},
		"stored: previous not before":  {Verb: VerbStored, Epoch: "e", User: "u", Offset: 3, Prev: 3, Op: Text},
		"stored: not UTF-8":            {Verb: VerbStored, Epoch: "e", User: "u", Offset: 1, Op: Text, Payload: []byte(notUTF8)},
		"stored: topic not durable":    {Verb: VerbStored, Epoch: "e", Topic: "t", Offset: 1, Op: Text},
		"close: code 0":                {Verb: VerbClose, User: "u"},
		"close: code 1006":             {Verb: VerbClose, User: "u", Code: 1006},
		"close: code 5000":             {Verb: VerbClose, User: "u", Code: 5000},
		"close: long reason":           {Verb: VerbClose, User: "u", Code: 4000, Reason: long},
		"close: reason is not UTF-8":   {Verb: VerbClose, User: "u", Code: 4000, Reason: notUTF8},
		"close: no user":               {Verb: VerbClose, Code: 4000},
		"sessions: nothing":            {Verb: VerbSessions},
		"sessions: bad name":           {Verb: VerbSessions, User: bad},
		"subscribers: nothing":         {Verb: VerbSubscribers},
		"subscribers: bad name":        {Verb: VerbSubscribers, Topic: long},
		"subscribe: no topic":          {Verb: VerbSubscribe, User: "u"},
		"subscribe: bad topic":         {Verb: VerbSubscribe, User: "u", Topic: bad},
		"subscribe: no user":           {Verb: VerbSubscribe, Topic: "t"},
		"unsubscribe: no topic":        {Verb: VerbUnsubscribe, User: "u"},
		"unsubscribe: bad user":        {Verb: VerbUnsubscribe, User: bad, Topic: "t"},
	} {
		t.Run(name, func(t *testing.T) {
			if r := n.Serve(&cmd); r.Error == "" || r.Count != 0 || len(r.Sessions) != 0 {
				t.Errorf("answered %+v", r)
			}
		})
	}
	// Valid ones work, and the session is there and has got nothing.
	for _, cmd := range []Command{
		{Verb: VerbPush, User: "u", Op: Text, Payload: []byte("1")},
		{Verb: VerbPublish, Topic: "t", Op: Text, Payload: []byte("2"), Except: "no session"},
		{Verb: VerbBroadcast, Op: Text, Payload: []byte("3")},
		{Verb: VerbPushMany, Users: []string{"u"}, Topics: []string{"t"}, Op: Text, Payload: []byte("4")},
		{Verb: VerbSessions, Topic: "t"},
		{Verb: VerbSubscribers, Topic: "t"},
		{Verb: VerbSubscribe, User: "u", Topic: "t2"},
		{Verb: VerbUnsubscribe, User: "u", Topic: "t2"},
	} {
		if r := n.Serve(&cmd); r.Error != "" || r.Count != 1 {
			t.Errorf("verb %d: %+v", cmd.Verb, r)
		}
	}
	for _, text := range []string{"1", "2", "3", "4"} {
		if m := c.hear(); m.Text != text {
			t.Errorf("got %+v, want %s", m, text)
		}
	}
	st, err := srv.cfg.Store.Begin(store.Box{User: "u"}, store.Entry{Payload: []byte("5")}).Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r := n.Serve(&Command{Verb: VerbStored, User: "u", Epoch: srv.store.Epoch(store.Box{User: "u"}), Offset: st.Offset, Prev: st.Prev}); r.Error != "" || r.Count != 1 {
		t.Errorf("stored: %+v", r)
	}
	if m := c.hear(); m.Text != "5" || m.Offset != st.Offset {
		t.Errorf("got %+v", m)
	}
	if r := n.Serve(&Command{Verb: VerbClose, User: "u", Code: StatusForbidden, Reason: "r"}); r.Error != "" || r.Count != 1 {
		t.Errorf("close: %+v", r)
	}
	if code := c.finish(); code != StatusForbidden { // a ping comes first
		t.Errorf("closed with %d", code)
	}
	if k := log.count("panic recovered"); k != 0 {
		t.Errorf("%d panics", k)
	}
}

// FuzzServe executes commands with any fields: nothing panics, and no frame reaches a
// client that is not one of a message.
func FuzzServe(f *testing.F) {
	f.Add(uint8(VerbPush), uint8(9), "u", "", uint64(0), uint64(0), uint16(0), "", make([]byte, 126))
	f.Add(uint8(VerbStored), uint8(1), "u", "", uint64(1<<63), uint64(0), uint16(0), "", []byte("x"))
	f.Add(uint8(VerbClose), uint8(0), "u", "", uint64(0), uint64(0), uint16(1006), "r", []byte(nil))
	f.Add(uint8(VerbPushMany), uint8(2), "u", "t", uint64(0), uint64(0), uint16(0), "", []byte{0xff})
	log := new(logBuffer)
	cluster := newFakeClusters(1)
	srv := start(f, Config{Cluster: cluster[0], Logger: log.logger(), DrainRate: 1 << 20})
	f.Fuzz(func(t *testing.T, verb, op uint8, user, topic string, offset, prev uint64, code uint16, reason string, payload []byte) {
		c := dial(t, srv, "/ws?user=u&topic=t")
		defer c.Close()
		cmd := &Command{Verb: Verb(verb), Op: Op(op), User: user, Topic: topic, Offset: offset, Prev: prev, Code: Code(code), Reason: reason, Payload: payload}
		if cmd.Verb == VerbPushMany {
			cmd.Users, cmd.Topics, cmd.User, cmd.Topic = []string{user}, []string{topic}, "", ""
		}
		member{srv}.Serve(cmd)
		if log.count("panic recovered") != 0 {
			t.Fatalf("panic: %+v", cmd)
		}
		disconnected := srv.disconnectHere("u", 4999, "") == 0
		for {
			op, got, err := c.frame()
			if err != nil {
				t.Fatalf("%+v: %v", cmd, err)
			}
			if op == Text || op == Binary {
				continue
			}
			if op != 8 || len(got) < 2 || !disconnected && string(got) != closePayload(4999, "") {
				t.Fatalf("%+v: frame %x %q", cmd, op, got)
			}
			return
		}
	})
}
