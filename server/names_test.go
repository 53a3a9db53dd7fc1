package server

import (
	"encoding/json"
	"strings"
	"testing"

	"fanfare/netpoll"
	"fanfare/registry"
	"fanfare/server/internal/fanfarev1"
)

// TestV1Names: a name in any command of fanfare.v1 is checked by the rule for all names, and
// a command with a malformed one changes nothing. The handshake is in TestNames, commands of
// other nodes in TestServeRejectsInvalidCommands.
func TestV1Names(t *testing.T) {
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		cfg := withInbox(t)
		cfg.Transport = transport
		srv := start(t, cfg)
		c := dial(t, srv, "/ws?user=a&topic=news", "Sec-WebSocket-Protocol: fanfare.v1")
		read := func() (o fanfarev1.Object) {
			t.Helper()
			_, payload, err := c.frame()
			if err == nil {
				err = json.Unmarshal(payload, &o)
			}
			if err != nil {
				t.Fatalf("%q: %v", payload, err)
			}
			return o
		}
		if o := read(); o.Type != "hello" {
			t.Fatalf("got %+v", o)
		}
		for _, name := range []string{strings.Repeat("x", registry.MaxName+1), "a\x00b", "a\u0085b", "a\n", "\x7f"} {
			quoted, err := json.Marshal(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, command := range []string{"subscribe", "unsubscribe", "ack"} {
				c.send(Text, `{"type":"`+command+`","topic":`+string(quoted)+map[bool]string{true: `,"epoch":"e","offset":1`}[command == "ack"]+`}`)
				if o := read(); o.Type != "error" || o.Code != "bad_name" || !strings.HasPrefix(o.Message, "topic: ") {
					t.Errorf("%s %.20q: %+v", command, name, o)
				}
			}
			s := only(t, srv, "a")
			if err := s.Subscribe(name); err == nil || s.Unsubscribe(name) {
				t.Errorf("Subscribe(%.20q) returns %v", name, err)
			}
		}
		for _, command := range []string{"subscribe", "unsubscribe"} {
			c.send(Text, `{"type":"`+command+`","topic":""}`)
			if o := read(); o.Code != "bad_name" {
				t.Errorf("%s of the empty name: %+v", command, o)
			}
		}
		if n := srv.users.Topics(); n != 1 || srv.users.TopicSessions("news") != 1 {
			t.Errorf("there are %d topics now", n)
		}
	})
}
