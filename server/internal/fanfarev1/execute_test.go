package fanfarev1

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// fakeClient notes what a command does, and what is answered.
type fakeClient struct {
	did []string
	err error
}

func (c *fakeClient) note(format string, args ...any) {
	c.did = append(c.did, fmt.Sprintf(format, args...))
}

func (c *fakeClient) Send(o Object)                  { c.note("%s", o.Encode()) }
func (c *fakeClient) MaySubscribe(topic string) bool { return topic != "secret" }
func (c *fakeClient) Unsubscribe(topic string)       { c.note("unsubscribe %s", topic) }

func (c *fakeClient) Subscribe(topic string, from Start) (bool, error) {
	if after := from.After; after != nil {
		c.note("subscribe %s after %s %d", topic, after.Epoch, after.Offset)
		return true, c.err
	}
	if from.Rewind > 0 {
		c.note("subscribe %s, the last %d", topic, from.Rewind)
		return true, c.err
	}
	c.note("subscribe %s", topic)
	return false, c.err
}

func (c *fakeClient) Acknowledge(topic, epoch string, offset uint64) error {
	c.note("ack %q %s %d", topic, epoch, offset)
	return c.err
}

func (c *fakeClient) Refresh(token string) (Refreshed, error) {
	c.note("refresh %s", token)
	return Refreshed{9, 8, []string{"old"}, "T"}, c.err
}

func (c *fakeClient) Publish(id, topic string, p Payload) error {
	c.note("publish %q %s %t %q", id, topic, p.Binary, p.Bytes)
	return c.err
}
func (c *fakeClient) Request(id string, p Payload) error {
	c.note("request %q %t %q", id, p.Binary, p.Bytes)
	return c.err
}

func TestExecute(t *testing.T) {
	gone := errors.New("the session is closed")
	for _, test := range []struct {
		text string
		err  error
		want string
	}{
		{`{"type":"ack","offset":7,"epoch":"e"}`, nil, `ack "" e 7`},
		{`{"type":"ack","topic":"t","offset":7,"epoch":"e"}`, ErrNoInbox, `ack "t" e 7; {"type":"error","code":"no_inbox","message":"this server stores no messages"}`},
		{`{"type":"ack","offset":7}`, gone, `ack ""  7`},
		{`{"type":"ack"}`, nil, `{"type":"error","code":"bad_offset","message":"an ack needs an offset"}`},
		{`{"type":"subscribe","topic":"t"}`, nil, `subscribe t; {"type":"subscribe","topic":"t"}`},
		{`{"type":"subscribe","topic":"t"}`, ErrTooManyTopics, `subscribe t; {"type":"error","code":"too_many_topics","message":"the session has as many subscriptions as it may"}`},
		{`{"type":"subscribe","topic":"t","offset":3,"epoch":"e"}`, nil, `subscribe t after e 3`},
		{`{"type":"subscribe","topic":"t","offset":3}`, nil, `{"type":"error","code":"bad_offset","message":"` + NoEpoch + `"}`},
		{`{"type":"subscribe","topic":"t","epoch":"e"}`, nil, `{"type":"error","code":"bad_offset","message":"` + NoOffset + `"}`},
		{`{"type":"subscribe","topic":"t","rewind":1}`, nil, `subscribe t, the last 1`},
		{`{"type":"subscribe","topic":"t","rewind":1000}`, ErrNotDurable, `subscribe t, the last 1000; {"type":"error","code":"bad_rewind","message":"` + ErrNotDurable.Message + `"}`},
		{`{"type":"subscribe","topic":"t","rewind":1,"offset":3,"epoch":"e"}`, nil, `subscribe t after e 3`},
		{`{"type":"subscribe","topic":"t","rewind":0}`, nil, `{"type":"error","code":"bad_rewind","message":"rewind is a number of messages from 1 to 1000"}`},
		{`{"type":"subscribe","topic":"t","rewind":1001}`, nil, `{"type":"error","code":"bad_rewind","message":"rewind is a number of messages from 1 to 1000"}`},
		{`{"type":"subscribe","topic":"secret"}`, nil, `{"type":"error","code":"forbidden","message":"this user may not subscribe to the topic"}`},
		{`{"type":"unsubscribe","topic":"t"}`, nil, `unsubscribe t; {"type":"unsubscribe","topic":"t"}`},
		{`{"type":"refresh","token":"x"}`, nil, `refresh x; {"type":"unsubscribe","topic":"old"}; {"type":"refresh","expires":9,"expires_in":8,"ticket":"T"}`},
		{`{"type":"refresh","token":"x"}`, RefreshFailed("no"), `refresh x; {"type":"error","code":"refresh_failed","message":"no"}`},
		{`{"type":"dance"}`, nil, `{"type":"error","code":"bad_type","message":"unknown type \"dance\": expected ack, subscribe, unsubscribe, publish, request or refresh"}`},
		{`{"type":"publish","topic":"t","text":"x"}`, nil, `publish "" t false "x"`},
		{`{"type":"publish","id":"i","topic":"t","base64":"/w=="}`, ErrNoInbox, `publish "i" t true "\xff"; {"type":"error","id":"i","code":"no_inbox","message":"this server stores no messages"}`},
		{`{"type":"publish","id":"i","topic":"t"}`, nil, `{"type":"error","id":"i","code":"bad_message","message":"a publish needs text or base64"}`},
		{`{"type":"request","id":"i","text":"","base64":null}`, nil, `request "i" false ""`},
		{`{"type":"request","text":"","base64":""}`, nil, `{"type":"error","code":"bad_message","message":"a request has text or base64, not both"}`},
		{`{"type":"request","text":7}`, nil, `{"type":"error","code":"bad_message","message":"field \"text\" has the wrong type"}`},
		{`{"type":"ack","id":"i"}`, nil, `{"type":"error","id":"i","code":"bad_offset","message":"an ack needs an offset"}`},
		{`[`, nil, `{"type":"error","code":"bad_message","message":"expected one JSON object"}`},
	} {
		c := &fakeClient{err: test.err}
		Execute(c, []byte(test.text))
		if got := strings.Join(c.did, "; "); got != test.want {
			t.Errorf("%s does\n%s, want\n%s", test.text, got, test.want)
		}
	}
	for _, kind := range []string{"ack", "subscribe", "unsubscribe", "publish"} {
		c := &fakeClient{}
		offset := map[string]string{"ack": `,"offset":1`, "subscribe": `,"offset":1,"epoch":"e"`}[kind]
		Execute(c, []byte(`{"type":"`+kind+`","topic":"a\u0001b"`+offset+`}`))
		if got := strings.Join(c.did, "; "); !strings.HasPrefix(got, `{"type":"error","code":"bad_name"`) {
			t.Errorf("%s of a malformed topic does %s", kind, got)
		}
	}
}

// TestMembers: each command has exactly its members; any other is named in an error, and nothing is
// done. null, and an empty text that is no payload, say nothing.
func TestMembers(t *testing.T) {
	values := map[string]string{"topic": `"t"`, "offset": `1`, "epoch": `"e"`, "rewind": `1`, "token": `"x"`, "text": `"x"`, "base64": `""`}
	for kind, has := range map[string]string{
		"ack":         "topic offset epoch",
		"subscribe":   "topic offset epoch rewind",
		"unsubscribe": "topic",
		"publish":     "topic text base64",
		"request":     "text base64",
		"refresh":     "token",
	} {
		needs := map[string]string{"ack": `"offset":1`, "subscribe": `"topic":"t","offset":1,"epoch":"e"`, "unsubscribe": `"topic":"t"`,
			"publish": `"topic":"t","text":"x"`, "request": `"text":"x"`, "refresh": `"token":"x"`}[kind]
		for name, value := range values {
			if strings.Contains(" "+has+" ", " "+name+" ") {
				continue
			}
			// The type may be the last member.
			for _, text := range []string{`{"id":"i","type":"` + kind + `",` + needs + `,"` + name + `":` + value + `}`,
				`{"` + name + `":` + value + `,` + needs + `,"id":"i","type":"` + kind + `"}`} {
				c := new(fakeClient)
				Execute(c, []byte(text))
				want := `{"type":"error","id":"i","code":"bad_message","message":"field \"` + name + `\" has no effect in ` + kind +
					`: expected type, id, ` + strings.ReplaceAll(has, " ", ", ") + `"}`
				if got := strings.Join(c.did, "; "); got != want {
					t.Errorf("%s does\n%s, want\n%s", text, got, want)
				}
			}
			c, plain := new(fakeClient), new(fakeClient)
			Execute(c, []byte(`{"type":"`+kind+`",`+needs+`,"`+name+`":null}`))
			Execute(plain, []byte(`{"type":"`+kind+`",`+needs+`}`))
			if len(c.did) == 0 || strings.Join(c.did, "; ") != strings.Join(plain.did, "; ") {
				t.Errorf("%s with %s null does %q, want %q", kind, name, c.did, plain.did)
			}
		}
	}
	if len(members) != 6 {
		t.Errorf("the test knows 6 commands, and there are %d", len(members))
	}
}
