package server

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"fanfare/server/revoke"
)

// fakeTickets issues tickets that name their path and user. A ticket for the user "panic"
// panics.
type fakeTickets struct{}

func (fakeTickets) Issue(path string, id *Identity) string {
	if id.User == "panic" {
		panic("issue")
	}
	return path + "|" + id.User
}

func (fakeTickets) Restore(path, ticket string) (id Identity, ok bool) {
	from, user, ok := strings.Cut(ticket, "|")
	if user == "panic" {
		panic("restore")
	}
	return Identity{User: user, Topics: []string{"own"}, MaySubscribe: []string{"own", "chat.*"}, Issued: time.Unix(1000, 0)}, ok && from == path
}

// asking is an endpoint with tickets that counts the calls of its Identifier, which knows
// users by ?user=.
func asking(blocks bool, calls *atomic.Int32) Endpoint {
	return Endpoint{
		Path: "/a", Tickets: fakeTickets{}, Dialects: []Dialect{Plain(), V1()}, NonBlocking: !blocks, AllowQuery: []string{"user"},
		Identifier: func(_ context.Context, r *Request) (Identity, error) {
			calls.Add(1)
			if user := r.Query("user"); user != "" {
				return Identity{User: user, Topics: r.QueryAll("topic"), MaySubscribe: []string{"*"}}, nil
			}
			return Identity{}, Reject(401, "no user")
		},
	}
}

// TestTicket: with a ticket the Identifier is not called, and without a valid one it decides.
func TestTicket(t *testing.T) {
	for _, blocks := range []bool{false, true} {
		var calls atomic.Int32
		srv := start(t, Config{Endpoints: []Endpoint{asking(blocks, &calls)}, Logger: slog.New(slog.DiscardHandler)})
		for _, test := range []struct {
			name, query, field string
			calls              int32
			status             int
			hello              string
		}{
			{"first", "?user=bob", "", 1, 0, `{"type":"hello","user":"bob","ticket":"/a|bob"}`},
			{"by query", "?ticket=/a%7Cbob", "", 0, 0, `{"type":"hello","user":"bob","ticket":"/a|bob"}`},
			{"by field", "", "ticket /a|bob", 0, 0, `{"type":"hello","user":"bob","ticket":"/a|bob"}`},
			{"by both", "?ticket=/a%7Cbob", "Ticket  /a|bob", 0, 0, `{"type":"hello","user":"bob","ticket":"/a|bob"}`},
			{"beside a credential", "?user=eve&ticket=/a%7Cbob", "", 0, 0, `{"type":"hello","user":"bob","ticket":"/a|bob"}`},
			{"beside another scheme", "?ticket=/a%7Cbob", "Basic YTpi", 0, 0, `{"type":"hello","user":"bob","ticket":"/a|bob"}`},
			{"two", "?ticket=/a%7Cbob", "Ticket /a|eve", 0, 400, ""},
			{"repeated", "?ticket=/a%7Cbob&ticket=/a%7Cbob", "", 0, 400, ""},
			{"of another path", "?ticket=/b%7Cbob", "", 1, 401, ""},
			{"of another path, beside a credential", "?user=eve&ticket=/b%7Cbob", "", 1, 0, `{"type":"hello","user":"eve","ticket":"/a|eve"}`},
			{"empty", "?user=eve&ticket=", "", 1, 0, `{"type":"hello","user":"eve","ticket":"/a|eve"}`},
			{"with a topic", "?ticket=/a%7Cbob&topic=chat.1", "", 0, 0, `{"type":"hello","user":"bob","ticket":"/a|bob"}`},
			{"with a topic that it does not allow", "?user=bob&ticket=/a%7Cbob&topic=x", "", 1, 0, `{"type":"hello","user":"bob","ticket":"/a|bob"}`},
			{"with a misspelled parameter", "?ticket=/a%7Cbob&topci=chat.1", "", 0, 400, ""},
			{"Restore panics", "?ticket=/a%7Cpanic", "", 1, 401, ""},
			{"Issue panics", "?user=panic", "", 1, 0, `{"type":"hello","user":"panic"}`},
		} {
			calls.Store(0)
			lines := []string{v1Header}
			if test.field != "" {
				lines = append(lines, "Authorization: "+test.field)
			}
			if test.status != 0 {
				c := connect(t, srv)
				c.say(handshakeFor("/a"+test.query, lines...))
				if got := c.answer().StatusCode; got != test.status {
					t.Errorf("blocks %v, %s: status %d, want %d", blocks, test.name, got, test.status)
				}
			} else {
				dial(t, srv, "/a"+test.query, lines...).want(Text, test.hello)
			}
			if n := calls.Load(); n != test.calls {
				t.Errorf("blocks %v, %s: the Identifier was called %d times, want %d", blocks, test.name, n, test.calls)
			}
		}
		srv.tickets.mu.Lock()
		if n := len(srv.tickets.of); n != 0 {
			t.Errorf("%d tickets are kept after hello", n)
		}
		srv.tickets.mu.Unlock()
	}
}

// TestTicketTopics: a session has the topics of its ticket, or the topics that the client asks for.
func TestTicketTopics(t *testing.T) {
	var calls atomic.Int32
	srv := start(t, Config{Endpoints: []Endpoint{asking(true, &calls)}})
	for query, want := range map[string]string{"": "own", "&topic=chat.1": "chat.1"} {
		c := dial(t, srv, "/a?ticket=/a%7Cbob"+query, v1Header)
		c.text() // hello
		if got := only(t, srv, "bob").Topics(); len(got) != 1 || got[0] != want {
			t.Errorf("%q: topics %q, want %q", query, got, want)
		}
		c.Close()
		await(t, "the session ends", func() bool { return srv.Count() == 0 })
	}
}

// TestTicketPlain: a session without fanfare.v1 gets no ticket, and none is kept for it.
func TestTicketPlain(t *testing.T) {
	var calls atomic.Int32
	srv := start(t, Config{Endpoints: []Endpoint{asking(false, &calls)}})
	c := dial(t, srv, "/a?user=bob")
	srv.tickets.mu.Lock()
	n := len(srv.tickets.of)
	srv.tickets.mu.Unlock()
	if n != 0 {
		t.Errorf("%d tickets are kept", n)
	}
	srv.Push(t.Context(), "bob", NewMessage(Text, []byte("first")))
	c.want(Text, "first")
}

// TestTicketRevoked: a ticket does not help a user who was revoked, nor a token.
func TestTicketRevoked(t *testing.T) {
	list, err := revoke.New(t.Context(), revoke.Config{Age: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(list.Close)
	var calls atomic.Int32
	srv := start(t, Config{Endpoints: []Endpoint{asking(true, &calls)}, Revocations: list})
	dial(t, srv, "/a?ticket=/a%7Cbob", v1Header).text()
	// The identity of the ticket was proved in 1970.
	if _, err := srv.Revoke(t.Context(), revoke.Entry{User: "bob", Before: float64(time.Now().Unix())}); err != nil {
		t.Fatal(err)
	}
	await(t, "the session is closed", func() bool { return srv.Count() == 0 })
	c := connect(t, srv)
	c.say(handshakeFor("/a?ticket=/a%7Cbob", v1Header))
	if got := c.answer().StatusCode; got != 401 {
		t.Errorf("status %d, want 401", got)
	}
	dial(t, srv, "/a?user=bob", v1Header).text() // proved again
}

// TestTicketRefresh: a session with another identity gets another ticket.
func TestTicketRefresh(t *testing.T) {
	var calls atomic.Int32
	ep := asking(false, &calls)
	ep.Refresh = func(context.Context, *Session, string) (Identity, error) { return Identity{User: "bob"}, nil }
	srv := start(t, Config{Endpoints: []Endpoint{ep}})
	c := dial(t, srv, "/a?user=bob", v1Header)
	c.text()
	c.send(ws.OpText, `{"type":"refresh","token":"t"}`)
	var got struct{ Type, Ticket string }
	if err := json.Unmarshal([]byte(c.text()), &got); err != nil || got.Type != "refresh" || got.Ticket != "/a|bob" {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestTicketConfig: endpoints where a ticket would prove what nothing has proved.
func TestTicketConfig(t *testing.T) {
	for name, change := range map[string]func(ep *Endpoint){
		"no Identifier":       func(ep *Endpoint) { ep.Identifier = nil },
		"insecure":            func(ep *Endpoint) { ep.Insecure = true },
		"many paths":          func(ep *Endpoint) { ep.Path = "/a/*" },
		"as it is (no error)": func(*Endpoint) {},
	} {
		ep := asking(false, new(atomic.Int32))
		change(&ep)
		err := Config{Endpoints: []Endpoint{ep}}.Validate()
		if ok := strings.Contains(name, "no error"); (err == nil) != ok || !ok && !strings.Contains(err.Error(), "Tickets needs") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
