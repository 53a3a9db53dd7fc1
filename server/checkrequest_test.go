package server

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
)

// A plain request with Fanfare-Check gets the answer that a handshake would get, and
// opens no session.
func TestHandshakeCheck(t *testing.T) {
	real := Endpoint{Path: "/real", Identifier: func(_ context.Context, r *Request) (Identity, error) {
		switch r.Query("token") {
		case "good":
			return Identity{User: "alice"}, nil
		case "fault":
			return Identity{}, io.ErrUnexpectedEOF
		}
		return Identity{}, &Rejection{Status: 401, Text: "wrong token", Header: http.Header{"Www-Authenticate": {"Bearer"}}}
	}}
	srv := start(t, Config{Endpoints: []Endpoint{real, PushEndpoint("/ws")}, TopicsPerSession: 1})
	check := func(path, check, origin string) (int, string, http.Header) {
		t.Helper()
		req, err := http.NewRequest("GET", "http://"+srv.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if check != "" {
			req.Header.Set("Fanfare-Check", check)
		}
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body), resp.Header
	}
	for _, test := range []struct {
		name, path, origin string
		status             int
		body               string // a part
		offered            string // sub-protocol
	}{
		{"accepted", "/real?token=good", "", 200, "would be accepted", ""},
		{"wrong token", "/real?token=bad", "", 401, "wrong token", ""},
		{"no token", "/real", "", 401, "wrong token", ""},
		{"fault of the server", "/real?token=fault", "", 500, "internal error", ""},
		{"page of another site", "/real?token=good", "https://evil.example", 403, "evil.example", ""},
		{"no user", "/ws", "", 400, "no user", ""},
		{"invalid user", "/ws?user=%00", "", 400, "user", ""},
		{"too many topics", "/ws?user=a&topic=b&topic=c", "", 400, "more than 1 topics", ""},
		{"user by query", "/ws?user=a", "", 200, "would be accepted", ""},
		{"offset of a plain session", "/ws?user=a&offset=7&epoch=E", "", 400, "without a sub-protocol", ""},
		{"offset of fanfare.v1", "/ws?user=a&offset=7&epoch=E", "", 200, "would be accepted", "fanfare.v1"},
		{"epoch that is not UTF-8", "/ws?user=a&offset=7&epoch=%ff", "", 400, `epoch: expected the epoch of the last message, and got "\xff"`, "fanfare.v1"},
		{"not a sub-protocol", "/ws?user=a", "", 400, "Sec-WebSocket-Protocol", "a b"},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, body, header := check(test.path, cmp.Or(test.offered, "1"), test.origin)
			if status != test.status || !strings.Contains(body, test.body) {
				t.Errorf("got %d %s, want %d %s", status, body, test.status, test.body)
			}
			if (status == 401) != (header.Get("WWW-Authenticate") != "") {
				t.Errorf("header %v", header)
			}
			if status, _, _ := check(test.path, "", test.origin); status != 426 {
				t.Errorf("a plain request without the header gets %d", status)
			}
		})
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	if n := srv.Count(); n != 0 {
		t.Errorf("%d sessions are open", n)
	}
}

// A check costs what a handshake costs, so that tokens cannot be guessed faster.
func TestHandshakeCheckIsLimited(t *testing.T) {
	srv := start(t, Config{HandshakeRate: 1})
	limited := false
	for range 15 {
		req, err := http.NewRequest("GET", "http://"+srv.Addr().String()+"/ws?user=a", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Fanfare-Check", "1")
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		limited = limited || resp.StatusCode == 503
	}
	if !limited {
		t.Error("15 at once are accepted where 10 may be")
	}
}
