package auth

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"fanfare/server"
)

// patience bounds what a test waits for.
const patience = 20 * time.Second

// start starts a server whose endpoint /ws wants tokens.
func start(t *testing.T, keys *Keys, cfg server.Config) *server.Server {
	t.Helper()
	return startWith(t, JWT(keys), cfg)
}

func startWith(t *testing.T, identifier server.Identifier, cfg server.Config) *server.Server {
	t.Helper()
	return startEndpoint(t, false, identifier, cfg)
}

// startNonBlocking is startWith for an Identifier that returns at once.
func startNonBlocking(t *testing.T, identifier server.Identifier, cfg server.Config) *server.Server {
	t.Helper()
	return startEndpoint(t, true, identifier, cfg)
}

func startEndpoint(t *testing.T, nonBlocking bool, identifier server.Identifier, cfg server.Config) *server.Server {
	t.Helper()
	ep := server.PushEndpoint("/ws")
	ep.NonBlocking = nonBlocking
	ep.Identifier, ep.Insecure = identifier, false
	cfg.Listen, cfg.Endpoints, cfg.Logger = "127.0.0.1:0", []server.Endpoint{ep}, slog.New(slog.DiscardHandler)
	srv, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		srv.Shutdown(ctx)
	})
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	return srv
}

// connect opens a session.
func connect(t *testing.T, srv *server.Server, query string) net.Conn {
	t.Helper()
	c, buffered, _, err := ws.Dial(t.Context(), "ws://"+srv.Addr().String()+"/ws"+query)
	if err != nil {
		t.Fatal(err)
	}
	if buffered != nil {
		t.Fatal("a frame followed the answer at once")
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

// TestHandshake sends tokens in every place over a connection.
func TestHandshake(t *testing.T) {
	srv := start(t, keysFor(t, "ES256"), server.Config{})
	key := signers["ES256"][0]
	good := sign("ES256", key, func(_, claims map[string]any) { claims["topics"] = []string{"news"} })
	half := good[:len(good)/2]
	for _, tt := range []struct {
		name, query, header string
		status              int
		text                string
	}{
		{"header", "", "Bearer " + good, 101, ""},
		{"header in another case", "", "bEARER  " + good, 101, ""},
		{"query", "?token=" + good, "", 101, ""},
		{"the same in header and query", "?token=" + good, "Bearer " + good, 101, ""},
		{"good header, other query", "?token=" + half, "Bearer " + good, 400, "one token in the Authorization field and another in the query parameter token"},
		{"good header, garbage in the query", "?token=garbage", "Bearer " + good, 400, "the query parameter token"},
		{"good query, other header", "?token=" + good, "Bearer " + half, 400, "the query parameter token"},
		{"good query, header without a token", "?token=" + good, "Bearer ", 400, "the Authorization field has the scheme Bearer and no token"},
		{"header without a token", "", "bearer", 400, "the Authorization field has the scheme Bearer and no token"},
		{"two headers", "", "Bearer " + good + "\r\nAuthorization: Bearer " + good, 400, "more than one Authorization field"},
		{"two in the query", "?token=" + good + "&token=" + good, "", 400, `"token" is repeated`},
		{"empty in the query", "?token=", "Bearer " + good, 101, ""},
		{"other scheme, good query", "?token=" + good, "Basic eDp5", 101, ""},
		{"other scheme", "", "Basic eDp5", 401, "no token, and the Authorization field has another scheme than Bearer"},
		{"none", "", "", 401, "no token"},
		{"misspelled in the query", "?access_token=" + good + "&topic=a", "", 401, `the query has "access_token"` + "\n"},
		{"user by query", "?user=mallory", "", 401, "no token"},
		{"half a token", "", "Bearer " + half, 401, "malformed"},
		{"not a token", "", "Bearer x", 401, "malformed"},
		{"padded", "", "Bearer " + good + "=", 401, "malformed"},
		{"other topic", "?topic=other&token=" + good, "", 403, "topic"},
		{"invalid name", "?token=" + sign("ES256", key, func(_, c map[string]any) { c["sub"] = "a\x00" }), "", 400, "user"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := net.Dial("tcp", srv.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(patience))
			header := ""
			if tt.header != "" {
				header = "Authorization: " + tt.header + "\r\n"
			}
			fmt.Fprintf(c, "GET /ws%s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", tt.query, header)
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != tt.status {
				t.Errorf("got %s, want %d", resp.Status, tt.status)
			}
			if challenge := resp.Header.Get("WWW-Authenticate"); (challenge != "") != (tt.status == 401) {
				t.Errorf("WWW-Authenticate: %q", challenge)
			}
			if tt.status == 101 {
				return
			}
			body, _ := io.ReadAll(resp.Body)
			if !strings.Contains(string(body), tt.text) || strings.Contains(string(body), half) {
				t.Errorf("body %q, want %q", body, tt.text)
			}
		})
	}
	c := connect(t, srv, "?token="+url.QueryEscape(good))
	if d, err := srv.Publish(t.Context(), "news", server.NewMessage(server.Binary, []byte("x"))); err != nil || d.Receivers == 0 {
		t.Errorf("published to %+v, %v", d, err)
	}
	if msg, op, err := wsutil.ReadServerData(c); string(msg) != "x" || op != ws.OpBinary || err != nil {
		t.Errorf("received %q, %v, %v", msg, op, err)
	}
}

// TestCloseExpired: a session is closed when its token stops being accepted, and not a
// ping interval later. The second token has expired already, by less than Leeway.
func TestCloseExpired(t *testing.T) {
	const interval = 10 * time.Minute
	for _, tt := range []struct {
		name   string
		after  time.Duration // from now to exp
		leeway time.Duration
	}{{"expires soon", 1500 * time.Millisecond, 0}, {"has expired", -time.Second, 2500 * time.Millisecond}} {
		t.Run(tt.name, func(t *testing.T) {
			keys := keysFor(t, "HS256")
			keys.CloseExpired, keys.Leeway = true, tt.leeway
			srv := start(t, keys, server.Config{PingInterval: interval})
			exp := time.Now().Add(tt.after)
			expires := exp.Add(tt.leeway)
			c := connect(t, srv, "?token="+sign("HS256", signers["HS256"][0], func(_, claims map[string]any) {
				claims["exp"] = float64(exp.UnixMilli()) / 1000
			}))
			var closed wsutil.ClosedError
			if _, _, err := wsutil.ReadServerData(c); !errors.As(err, &closed) || closed.Code != 3000 || closed.Reason != "the identity has expired" {
				t.Fatalf("ended with %v", err)
			}
			if now := time.Now(); now.Before(expires.Add(-200 * time.Millisecond)) {
				t.Errorf("closed %v before it expired", expires.Sub(now))
			}
		})
	}
}

// TestTokensSetKeys: replaced keys hold for the next handshake, and open sessions stay.
func TestTokensSetKeys(t *testing.T) {
	tokens := NewTokens(keysFor(t, "HS256"))
	srv := startWith(t, tokens.Identify, server.Config{})
	status := func(algorithm string) int {
		t.Helper()
		c, _, _, err := ws.Dial(t.Context(), "ws://"+srv.Addr().String()+"/ws?token="+sign(algorithm, signers[algorithm][0], nil))
		var rejected ws.StatusError
		if errors.As(err, &rejected) {
			return int(rejected)
		}
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		return 101
	}
	early := connect(t, srv, "?token="+sign("HS256", signers["HS256"][0], nil))
	if hs, rs := status("HS256"), status("RS256"); hs != 101 || rs != 401 {
		t.Errorf("at first: %d and %d, want 101 and 401", hs, rs)
	}
	tokens.SetKeys(keysFor(t, "RS256"))
	if hs, rs := status("HS256"), status("RS256"); hs != 401 || rs != 101 {
		t.Errorf("after SetKeys: %d and %d, want 401 and 101", hs, rs)
	}
	srv.Push(t.Context(), "alice", server.NewMessage(server.Text, []byte("x")))
	if msg, _, err := wsutil.ReadServerData(early); string(msg) != "x" {
		t.Errorf("the early session received %q, %v", msg, err)
	}
}

// TestOutliveToken: without CloseExpired a session gets its next ping.
func TestOutliveToken(t *testing.T) {
	srv := start(t, keysFor(t, "HS256"), server.Config{PingInterval: 200 * time.Millisecond})
	c := connect(t, srv, "?token="+sign("HS256", signers["HS256"][0], func(_, claims map[string]any) {
		claims["exp"] = time.Now().Add(-time.Second).Unix()
	}))
	if h, err := ws.ReadHeader(c); err != nil || h.OpCode != ws.OpPing {
		t.Errorf("got %+v, %v, want a ping", h, err)
	}
}
