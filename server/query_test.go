package server

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// deviceUser is an Identifier that reads a parameter of its own.
func deviceUser(_ context.Context, r *Request) (Identity, error) {
	return Identity{User: r.Query("device"), Topics: r.QueryAll("room")}, nil
}

// Every query parameter that has no effect is rejected, with words; those that endpoint,
// Identifier or dialect know are accepted.
func TestQueryParameters(t *testing.T) {
	blocking := Endpoint{Path: "/blocking", Identifier: deviceUser, Dialects: []Dialect{Plain(), V1()}}
	allowing := Endpoint{Path: "/allowing", Identifier: deviceUser, NonBlocking: true, AllowQuery: []string{"v", "utm_*"}}
	anything := Endpoint{Path: "/anything", Identifier: deviceUser, NonBlocking: true, AllowQuery: []string{"*"}}
	srv := start(t, Config{Endpoints: []Endpoint{PushEndpoint("/ws"), EchoEndpoint("/echo"), blocking, allowing, anything}})
	const v1, accepted = speaksV1, ""
	for _, tt := range []struct{ target, protocol, want string }{
		{"/ws?user=a", "", accepted},
		{"/ws?user=a&topic=b&topic=c", "", accepted},
		{"/ws?user=a&topic=b&topic=b", "", accepted},
		{"/ws?user=a&offset=1&epoch=e&topic=b&offset.b=2&epoch.b=f", v1, accepted},
		{"/ws?user=a&offset=&epoch=", v1, accepted},
		{"/ws?&user=a&&", "", accepted},
		{"/ws?%75ser=a", "", accepted},
		{"/echo", "", accepted},
		{"/echo?", "", accepted},

		{"/ws?usr=a", "", `no user: connect to /ws?user=NAME; the query has "usr"`},
		{"/ws?usr=a&topic=b&x=1&y%C3%A4=1&x=2&%zz", "", `the query has "usr", "x", "y\u00e4", "%zz"`},
		{"/ws?a=1&b=1&c=1&d=1&e=1", "", `the query has "a", "b", "c", "d"` + "\n"},
		{"/ws?user=&topic=b", "", "no user: connect to /ws?user=NAME\n"},
		{"/ws?user=a&topik=x", "", `query parameter "topik" has no effect in a handshake without a sub-protocol: want label, topic, user`},
		{"/ws?user=a&topik=x", v1, `query parameter "topik" has no effect in a handshake with the sub-protocol fanfare.v1: want epoch, label, offset, topic, user`},
		{"/ws?user=a&token=x", "", `query parameter "token" has no effect`},
		{"/ws?user=a", "Authorization: bearer x", "the Authorization field has a token, but this server takes the user from the query and checks no tokens"},
		{"/ws?user=a", "Authorization: Basic x", accepted},
		{"/ws?user=a&User=b", "", `query parameter "User" has no effect`},
		{"/ws?user=a&topic[]=b", "", `query parameter "topic[]" has no effect`},
		{"/ws?user=a&=b", "", `query parameter "" has no effect`},
		{"/ws?user=a&x", "", `query parameter "x" has no effect`},
		{"/ws?user=a&offset=1&epoch=e", "", `query parameter "offset" has no effect in a handshake without a sub-protocol`},
		{"/ws?user=a&topic=b&offset.b=1&epoch.b=e", "", `query parameter "offset.b" has no effect`},
		{"/ws?user=a&offset.b=1&epoch.b=e", v1, `query parameter "offset.b" has no effect: the session does not subscribe`},
		{"/ws?user=a&user=b", "", `query parameter "user" is repeated: name it once`},
		{"/ws?user=a&user=a", "", `query parameter "user" is repeated: name it once`},
		{"/ws?user=a&%75ser=b", "", `query parameter "user" is repeated: name it once`},
		{"/ws?user=a&user=", "", `query parameter "user" is repeated: name it once`},
		{"/ws?user=a&userId=a", "", `query parameter "userId" has no effect`},
		{"/ws?userId=a&userId=b", "", `query parameter "userId" is repeated`},
		{"/ws?user=a&topic=%zz", "", `query parameter "topic": malformed percent-encoding`},
		{"/ws?user=a&%zz=1", "", `query parameter "%zz": malformed percent-encoding`},
		{"/ws?user=a&" + strings.Repeat("x", 300) + "=1", "", `query parameter "` + strings.Repeat("x", 128) + `"… has no effect`},
		{"/echo?user=a", "", `query parameter "user" has no effect in a handshake without a sub-protocol: want no parameters`},

		{"/blocking?device=a&room=1&room=2", "", accepted},
		{"/blocking?device=a&offset=1&epoch=e", v1, accepted},
		{"/blocking?device=a&user=b", "", `query parameter "user" has no effect in a handshake without a sub-protocol: want device, room`},
		{"/blocking?device=a&device=b", "", `query parameter "device" is repeated`},
		{"/allowing?device=a&v=1&v=2&utm_source=x", "", accepted},
		{"/allowing?device=a&w=1", "", `query parameter "w" has no effect`},
		{"/anything?device=a&w=1&w=2", "", accepted},
		{"/anything?device=a&device=b", "", `query parameter "device" is repeated`},
	} {
		c := connect(t, srv)
		var lines []string
		if tt.protocol != "" {
			lines = append(lines, tt.protocol)
		}
		c.say(handshakeFor(tt.target, lines...))
		wantAnswer(t, tt.target, c.answer(), tt.want)
		c.Close()
	}
}

// wantAnswer checks the answer to a handshake: want is a part of the text of a 400, empty
// if the handshake is to be accepted.
func wantAnswer(t *testing.T, what string, resp *http.Response, want string) {
	t.Helper()
	body := ""
	if resp.StatusCode != http.StatusSwitchingProtocols {
		b, _ := io.ReadAll(resp.Body)
		body = string(b)
	}
	switch {
	case want == "" && resp.StatusCode != http.StatusSwitchingProtocols:
		t.Errorf("%s: %d %s, want it accepted", what, resp.StatusCode, body)
	case want != "" && (resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, want)):
		t.Errorf("%s: %d %s, want 400 %s", what, resp.StatusCode, body, want)
	}
}

// A program that looks at the query itself may have any parameters in it.
func TestQueryParametersOfMounts(t *testing.T) {
	byHTTP := func(_ context.Context, r *Request) (Identity, error) {
		return Identity{User: r.HTTP().URL.Query().Get("u")}, nil
	}
	byContext := func(context.Context, *Request) (Identity, error) { return Identity{User: "a"}, nil }
	for name, tt := range map[string]struct {
		ep      Endpoint
		upgrade bool
		want    string
	}{
		"an Identifier that reads the request of net/http":  {ep: Endpoint{Identifier: byHTTP}},
		"a program that tells the identity":                 {upgrade: true},
		"an Identifier that reads nothing":                  {ep: Endpoint{Identifier: byContext}, want: `query parameter "u" has no effect`},
		"an Identifier that reads nothing, with AllowQuery": {ep: Endpoint{Identifier: byContext, AllowQuery: []string{"u", "key"}}},
		"no Identifier":            {want: `query parameter "u" has no effect`},
		"one that reads something": {ep: Endpoint{Identifier: deviceUser, AllowQuery: []string{"key"}}, want: `query parameter "u" has no effect`},
	} {
		t.Run(name, func(t *testing.T) {
			srv, mount := bare(t, Config{}, tt.ep)
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if tt.upgrade {
					mount.Upgrade(w, r, Identity{User: "a"})
					return
				}
				mount.ServeHTTP(w, r)
			}))
			defer web.Close()
			srv.public = web.Listener.Addr()
			c := connect(t, srv)
			c.say(handshakeFor("/any?u=a&key=1"))
			wantAnswer(t, name, c.answer(), tt.want)
			c.Close()
		})
	}
}
