package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"fanfare/server/store"
)

// publisher is an endpoint whose user, that of the query, may publish to some topics.
func publisher(topics ...string) Endpoint {
	ep := PushEndpoint("/ws")
	ep.Identifier = func(ctx context.Context, r *Request) (Identity, error) {
		id, err := FromQuery(ctx, r)
		id.MayPublish = topics
		return id, err
	}
	return ep
}

// joined opens a session of fanfare.v1.
func joined(t *testing.T, srv *Server, path string) *client {
	t.Helper()
	c := dial(t, srv, path, speaksV1)
	c.hear()
	return c
}

// TestClientPublish: a client publishes where it may, to everybody else, and learns what has
// become of it under the name that it has given.
func TestClientPublish(t *testing.T) {
	srv := start(t, Config{Endpoints: []Endpoint{publisher("chat.*")}})
	plain := dial(t, srv, "/ws?user=bob&topic=chat.1")
	sender := joined(t, srv, "/ws?user=alice&topic=chat.1")
	other := joined(t, srv, "/ws?user=alice&topic=chat.1") // of the same user
	for _, test := range []struct{ say, want string }{
		{`{"type":"publish","id":"7","topic":"chat.1","text":"hi"}`, `{"type":"publish","id":"7","topic":"chat.1"}`},
		{`{"type":"publish","topic":"chat.1","base64":"AP8="}`, `{"type":"publish","topic":"chat.1"}`},
		{`{"type":"publish","topic":"chat.1","text":""}`, `{"type":"publish","topic":"chat.1"}`},
		{`{"type":"publish","id":"8","topic":"news","text":"hi"}`, `{"type":"error","id":"8","code":"forbidden","message":"this user may not publish to the topic"}`},
		{`{"type":"publish","id":"9","text":"hi"}`, `{"type":"error","id":"9","code":"bad_name"`},
		{`{"type":"publish","id":"10","topic":"chat.1"}`, `{"type":"error","id":"10","code":"bad_message"`},
		{`{"type":"publish","id":"11","topic":"chat.1","text":"a","base64":"AA=="}`, `{"type":"error","id":"11","code":"bad_message"`},
		{`{"type":"publish","id":"12","topic":"chat.1","base64":"%"}`, `{"type":"error","id":"12","code":"bad_message"`},
		{`{"type":"publish","id":"` + strings.Repeat("x", 65) + `","topic":"chat.1","text":"a"}`, `{"type":"error","code":"bad_id"`},
		{`{"id":"13","type":"dance"}`, `{"type":"error","id":"13","code":"bad_type"`},
		{`{"type":"request","id":"14","text":"hi"}`, `{"type":"error","id":"14","code":"no_requests"`},
	} {
		sender.send(Text, test.say)
		if got := sender.next(); !strings.HasPrefix(got, test.want) {
			t.Errorf("%s:\n%s, want\n%s", test.say, got, test.want)
		}
	}
	for _, want := range []string{"hi", "\x00\xff", ""} {
		if got := plain.next(); got != want {
			t.Errorf("a subscriber got %q, want %q", got, want)
		}
	}
	for _, want := range []string{`"text":"hi"`, `"base64":"AP8="`, `"text":""`} {
		if got := other.next(); got != `{"type":"message",`+want+`}` {
			t.Errorf("the other session of the user got %s", got)
		}
	}
	want := map[string]int64{"accepted": 3, "forbidden": 1, "busy": 0, "failed": 0}
	if got := srv.Stats().Publishes; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("counted %v, want %v", got, want)
	}
}

// TestClientPublishDurable: the message is stored before the answer, which says where, and
// reaches the sender, too.
func TestClientPublishDurable(t *testing.T) {
	cfg := withInbox(t)
	cfg.DurableTopics, cfg.Endpoints = []string{"log"}, []Endpoint{publisher("log")}
	srv := start(t, cfg)
	c := joined(t, srv, "/ws?user=alice&topic=log")
	c.hear() // subscribe
	c.send(Text, `{"type":"publish","id":"1","topic":"log","text":"x"}`)
	epoch, last := cfg.Store.Epoch(store.Box{Topic: "log"}), uint64(0)
	got := []string{c.next(), c.next()}
	var err error
	if last, err = cfg.Store.Last(t.Context(), store.Box{Topic: "log"}); err != nil || last == 0 {
		t.Fatalf("the last offset is %d, %v", last, err)
	}
	for _, want := range []string{
		fmt.Sprintf(`{"type":"publish","id":"1","topic":"log","epoch":%q,"offset":%d}`, epoch, last),
		fmt.Sprintf(`{"type":"message","topic":"log","epoch":%q,"offset":%d,"text":"x"}`, epoch, last),
	} {
		if got[0] != want && got[1] != want {
			t.Errorf("got %q, want %s", got, want)
		}
	}
}

// TestPublishTo: what clients send is published where they may, by clients that cannot name a
// topic, too.
func TestPublishTo(t *testing.T) {
	everybody, nobody := publisher("chat.*"), publisher("other")
	respond, err := PublishTo("chat.1")
	if _, bad := PublishTo("a\nb"); err != nil || bad == nil {
		t.Fatalf("a good topic: %v, a line break: %v", err, bad)
	}
	everybody.Respond, nobody.Respond = respond, respond
	nobody.Path = "/closed"
	srv := start(t, Config{Endpoints: []Endpoint{everybody, nobody}})
	subscriber := dial(t, srv, "/ws?user=bob&topic=chat.1")
	plain := dial(t, srv, "/ws?user=alice&topic=chat.1")
	plain.send(Text, "hi")
	if got := subscriber.next(); got != "hi" {
		t.Errorf("a subscriber got %q", got)
	}
	v1 := joined(t, srv, "/ws?user=carol")
	v1.send(Text, `{"type":"request","id":"1","base64":"AP8="}`)
	if got := v1.next(); got != `{"type":"reply","id":"1","text":""}` {
		t.Errorf("the answer is %s", got)
	}
	for who, c := range map[string]*client{"the subscriber": subscriber, "the first sender, whose own message it was not": plain} {
		if got := c.next(); got != "\x00\xff" {
			t.Errorf("%s got %q", who, got)
		}
	}
	v1 = joined(t, srv, "/closed?user=carol")
	v1.send(Text, `{"type":"request","id":"2","text":"hi"}`)
	if got := v1.next(); !strings.HasPrefix(got, `{"type":"error","id":"2","code":"forbidden"`) {
		t.Errorf("the answer is %s", got)
	}
	dial(t, srv, "/closed?user=dan").send(Text, "hi")
	want := map[string]int64{"accepted": 2, "forbidden": 2, "busy": 0, "failed": 0}
	await(t, "the messages are counted", func() bool { return fmt.Sprint(srv.Stats().Publishes) == fmt.Sprint(want) })
}

// TestPublishProblem: every error of a publish has a code.
func TestPublishProblem(t *testing.T) {
	logs := new(logBuffer)
	srv := start(t, Config{Logger: logs.logger()})
	for err, want := range map[error]string{
		fmt.Errorf("%w: 9", ErrTooBig): "too_big", store.ErrFull: "full", store.ErrDiskFull: "full",
		store.ErrUnavailable: "unavailable", context.DeadlineExceeded: "unavailable", ErrStoreMoved: "unavailable",
		errors.New("other"): "internal",
	} {
		if got := srv.publishProblem(err); !strings.HasPrefix(got.Error(), want+": ") {
			t.Errorf("%v is told as %v, want %s", err, got, want)
		}
	}
	if srv.publishProblem(nil) != nil || logs.count("publish of a client failed") != 1 {
		t.Error("success is an error, or the log is wrong")
	}
}

// TestRespond: requests and plain messages of a session are answered in their order, and
// errors are told to clients that can tell them apart.
func TestRespond(t *testing.T) {
	ep := PushEndpoint("/ws")
	ep.Respond = func(_ context.Context, in Inbound) (*Message, error) {
		switch text := string(in.Payload); text {
		case "nothing":
			return nil, nil
		case "no":
			return nil, &RequestError{"rejected", "not today"}
		case "fail":
			return nil, errors.New("broken")
		case "panic":
			panic("in a test")
		default:
			return NewMessage(in.Op, []byte(in.User+in.Endpoint+in.ID+" "+text)), nil
		}
	}
	logs := new(logBuffer)
	srv := start(t, Config{Endpoints: []Endpoint{ep}, Logger: logs.logger()})
	c := joined(t, srv, "/ws?user=alice")
	tests := []struct{ say, want string }{
		{`{"type":"request","id":"1","text":"a"}`, `{"type":"reply","id":"1","text":"alice/ws1 a"}`},
		{`{"type":"request","base64":"Yg=="}`, `{"type":"reply","base64":"YWxpY2Uvd3MgYg=="}`},
		{`{"type":"request","id":"2","text":"nothing"}`, `{"type":"reply","id":"2","text":""}`},
		{`{"type":"request","id":"3","text":"no"}`, `{"type":"error","id":"3","code":"rejected","message":"not today"}`},
		{`{"type":"request","id":"4","text":"fail"}`, `{"type":"error","id":"4","code":"internal","message":"internal error"}`},
		{`{"type":"request","id":"5","text":"panic"}`, `{"type":"error","id":"5","code":"internal","message":"internal error"}`},
		{`{"type":"request","id":"6","text":"z"}`, `{"type":"reply","id":"6","text":"alice/ws6 z"}`},
	}
	for _, test := range tests { // without awaiting the answers
		c.send(Text, test.say)
	}
	for _, test := range tests {
		if got := c.next(); got != test.want {
			t.Errorf("%s:\n%s, want\n%s", test.say, got, test.want)
		}
	}
	plain := dial(t, srv, "/ws?user=bob")
	for _, text := range []string{"a", "nothing", "no", "fail", "b"} {
		plain.send(Text, text)
	}
	for _, want := range []string{"bob/ws a", "bob/ws b"} {
		if got := plain.next(); got != want {
			t.Errorf("a plain client got %q, want %q", got, want)
		}
	}
	want := map[string]int64{"answered": 5, "empty": 2, "rejected": 2, "failed": 3, "busy": 0}
	if got := srv.Stats().Requests; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("counted %v, want %v", got, want)
	}
	if n, logged := srv.Stats().Panics, logs.count("err=broken"); n != 1 || logged != 2 {
		t.Errorf("%d panics, and %d errors in the log", n, logged)
	}
}

// TestRespondBlocked: a Responder that blocks costs its session further requests, which are
// told, and others nothing; when no goroutine is left, the rest waits in bounds.
func TestRespondBlocked(t *testing.T) {
	entered, release := make(chan string, 10), make(chan struct{})
	ep := PushEndpoint("/ws")
	ep.Respond = func(_ context.Context, in Inbound) (*Message, error) {
		if string(in.Payload) == "block" {
			entered <- in.User
			<-release
		}
		return NewMessage(Text, in.Payload), nil
	}
	srv := start(t, Config{Endpoints: []Endpoint{ep}, Responders: 2, ResponderQueue: 3, Workers: 2})
	slow, quick := joined(t, srv, "/ws?user=slow"), joined(t, srv, "/ws?user=quick")
	slow.send(Text, `{"type":"request","id":"0","text":"block"}`)
	receive(t, "first call", entered)
	for i := range 4 { // three wait
		slow.send(Text, fmt.Sprintf(`{"type":"request","id":"%d","text":"x"}`, i+1))
	}
	if got := slow.next(); !strings.HasPrefix(got, `{"type":"error","id":"4","code":"busy","message":"too many messages of this session`) {
		t.Errorf("got %s", got)
	}
	if n := srv.Stats().ClientWaiting; n != 4 {
		t.Errorf("%d messages are waiting, want 4", n)
	}
	quick.send(Text, `{"type":"request","id":"1","text":"x"}`)
	if got := quick.next(); !strings.Contains(got, `"code":"busy","message":"too many messages of clients`) { // three wait
		t.Errorf("got %s", got)
	}
	close(release)
	for i, want := range []string{"block", "x", "x", "x"} {
		if got := slow.next(); got != fmt.Sprintf(`{"type":"reply","id":"%d","text":%q}`, i, want) {
			t.Errorf("got %s", got)
		}
	}
	quick.send(Text, `{"type":"request","id":"2","text":"x"}`)
	if got := quick.next(); got != `{"type":"reply","id":"2","text":"x"}` {
		t.Errorf("got %s", got)
	}
	if n := srv.Stats().Requests["busy"]; n != 2 {
		t.Errorf("%d were rejected, want 2", n)
	}
}

// TestHandOverAfterTheAnswer: a session whose request is being answered moves afterwards.
func TestHandOverAfterTheAnswer(t *testing.T) {
	linuxOnly(t)
	entered, release := make(chan struct{}), make(chan struct{})
	ep := PushEndpoint("/ws")
	var giver atomic.Pointer[Server]
	ep.Respond = func(_ context.Context, in Inbound) (*Message, error) {
		if string(in.Payload) == "block" {
			close(entered)
			await(t, "handover", func() bool { return giver.Load().handing.Load() })
			<-release
		}
		return NewMessage(Text, in.Payload), nil
	}
	from := start(t, Config{Endpoints: []Endpoint{ep}})
	giver.Store(from)
	c := joined(t, from, "/ws?user=alice")
	c.send(Text, `{"type":"request","id":"1","text":"block"}`)
	receive(t, "request", entered)
	s := only(t, from, "alice")
	if s.movable() || (&giving{srv: from}).Busy() != true {
		t.Error("a session may move while its request is answered")
	}
	close(release)
	to := successor(t, from, Config{Endpoints: []Endpoint{ep}})
	c.send(Text, `{"type":"request","id":"2","text":"x"}`)
	for i, want := range []string{"block", "x"} {
		if got := c.next(); got != fmt.Sprintf(`{"type":"reply","id":"%d","text":%q}`, i+1, want) {
			t.Errorf("got %s", got)
		}
	}
	if to.Count() != 1 {
		t.Errorf("the successor has %d sessions", to.Count())
	}
}
