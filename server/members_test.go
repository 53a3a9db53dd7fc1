package server

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// presenceMessages reads messages until one is the text end, and returns the presence messages
// before it.
func (c *client) presenceMessages(end string) (all []string) {
	c.t.Helper()
	for {
		_, payload, err := c.frame()
		if err != nil {
			c.t.Fatalf("after %q: %v", all, err)
		}
		text := string(payload)
		if strings.Contains(text, end) {
			return all
		}
		if strings.Contains(text, `"presence"`) {
			all = append(all, text)
		}
	}
}

// TestPresenceTopic: subscribers whose client may read presence, and can tell it from payloads,
// learn who has joined and left, with the first session of a user and after the last one.
func TestPresenceTopic(t *testing.T) {
	v1 := "Sec-WebSocket-Protocol: fanfare.v1"
	may := identified("/may", Identity{User: "may", Topics: []string{"room.1", "other"}, MayReadPresence: []string{"room.*"}}, Hooks{})
	not := identified("/not", Identity{User: "not", Topics: []string{"room.1"}, MayReadPresence: []string{"other"}}, Hooks{})
	srv := start(t, Config{Endpoints: []Endpoint{may, not, PushEndpoint("/ws")}, PresenceTopics: []string{"room.*"}, Announce: AnnounceMembers})
	// awaitCount waits until a number of members is announced.
	announced := func(n int) {
		t.Helper()
		await(t, fmt.Sprint(n, " members"), func() bool {
			here, pending := srv.members.Pending()
			return here == n && !pending
		})
	}
	reader := dial(t, srv, "/may", v1)
	announced(1)
	insecure := dial(t, srv, "/ws?user=al&topic=room.1", v1) // its endpoint proves nothing anyway
	announced(2)
	others := []*client{dial(t, srv, "/not", v1), dial(t, srv, "/ws?user=bo&topic=room.1"), dial(t, srv, "/ws?user=bo&topic=room.1"), dial(t, srv, "/ws?user=cy&topic=room.2")}
	announced(5)
	srv.Publish(t.Context(), "other", NewMessage(Text, []byte("nothing about other")))
	for _, c := range others[1:3] { // the user's last session is the second one
		n := srv.Count()
		c.send(0x8, "\x03\xe8")
		await(t, "the end of the session", func() bool { return srv.Count() == n-1 })
	}
	announced(4)
	for _, s := range srv.users.AppendUser(nil, "al") {
		s.Unsubscribe("room.1")
	}
	announced(3)
	srv.Broadcast(t.Context(), NewMessage(Text, []byte("the end")))
	got := reader.presenceMessages("the end")
	joined := 0
	for _, m := range got {
		joined += strings.Count(m, `"joined"`)
	}
	if want := `{"type":"presence","topic":"room.1","members":1,"joined":["may"]}`; got[0] != want {
		t.Errorf("first %s, want %s", got[0], want)
	}
	tail := []string{`{"type":"presence","topic":"room.1","members":3,"left":["bo"]}`, `{"type":"presence","topic":"room.1","members":2,"left":["al"]}`}
	if !slices.Equal(got[len(got)-2:], tail) || strings.Contains(fmt.Sprint(got), "room.2") || joined < 3 {
		t.Errorf("%q, want %q at the end", got, tail)
	}
	if got := insecure.presenceMessages("the end"); len(got) < 2 || slices.Contains(got, tail[1]) {
		t.Errorf("a session that has unsubscribed: %q", got)
	}
	if got := others[0].presenceMessages("the end"); len(got) > 0 {
		t.Errorf("a client that may not read presence: %q", got)
	}
}

// TestPresenceOfPlainSessions: a plain session, whose client cannot tell presence from payloads,
// gets none, although it may read it.
func TestPresenceOfPlainSessions(t *testing.T) {
	srv := start(t, Config{Announce: AnnounceMembers, PresenceTopics: []string{"room"}})
	c := dial(t, srv, "/ws?user=al&topic=room")
	if n := srv.membersHere("room", []byte(`{}`)); n != 0 {
		t.Errorf("%d plain sessions get it", n)
	}
	dial(t, srv, "/ws?user=bo&topic=room", "Sec-WebSocket-Protocol: fanfare.v1")
	if n := srv.membersHere("room", []byte(`{}`)); n != 1 {
		t.Errorf("%d sessions get it, want 1", n)
	}
	srv.Publish(t.Context(), "room", NewMessage(Text, []byte("hi")))
	c.want(Text, "hi")
}

// membersObserver is the Observer of a cluster.
type membersObserver struct{ Observer }

func (membersObserver) Wants(k EventKind) bool { return k == MemberJoined || k == MemberLeft }

// TestPresenceTopicsConfig: in a cluster the Observer has to know the members of all nodes.
func TestPresenceTopicsConfig(t *testing.T) {
	base := Config{Announce: AnnounceMembers, PresenceTopics: []string{"room"}, Cluster: new(fakeCluster)}
	observed, malformed, grace := base, base, base
	observed.Observer = membersObserver{}
	malformed.Observer, malformed.PresenceTopics = membersObserver{}, []string{"a\n"}
	grace.Observer, grace.PresenceGrace = membersObserver{}, 25*time.Hour
	for want, cfg := range map[string]Config{"": observed, "PresenceTopics needs": base, "PresenceTopics has": malformed, "PresenceGrace is": grace} {
		if err := cfg.Validate(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
