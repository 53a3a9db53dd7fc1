package auth

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"fanfare/server"
)

// TestRefresh sends tokens in a session of fanfare.v1: only a valid one of the same user
// changes the session.
func TestRefresh(t *testing.T) {
	keys := keysFor(t, "HS256")
	keys.CloseExpired = true
	tokens := NewTokens(keys)
	ep := server.PushEndpoint("/ws")
	ep.Identifier, ep.Refresh, ep.Insecure = tokens.Identify, tokens.Refresh, false
	srv, err := server.New(server.Config{Listen: "127.0.0.1:0", Endpoints: []server.Endpoint{ep}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Shutdown(context.Background()) })
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	token := func(change func(claims map[string]any)) string {
		return sign("HS256", signers["HS256"][0], func(_, c map[string]any) {
			c["topics"] = []string{"news"}
			change(c)
		})
	}
	later := time.Now().Add(2 * time.Hour).Unix()
	for _, tt := range []struct {
		name, token, want string
	}{
		{"valid", token(func(c map[string]any) { c["exp"] = later }), fmt.Sprintf(`{"type":"refresh","expires":%d,"expires_in":`, later+5)},
		{"another user", token(func(c map[string]any) { c["sub"] = "bob" }), "the token is another user's"},
		{"expired", token(func(c map[string]any) { c["exp"] = 1 }), "the token has expired (claim exp)"},
		{"another key", sign("HS256", signers["HS256"][1], nil), "the token's signature was not made with a key of the server"},
		{"malformed", "x", "the token is malformed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := ws.Dialer{Protocols: []string{"fanfare.v1"}}
			c, buffered, _, err := d.Dial(t.Context(), "ws://"+srv.Addr().String()+"/ws?token="+token(func(map[string]any) {}))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(patience))
			session := io.ReadWriter(c)
			if buffered != nil { // hello came with the answer
				session = struct {
					io.Reader
					io.Writer
				}{io.MultiReader(buffered, c), c}
			}
			if hello, err := wsutil.ReadServerText(session); err != nil || !strings.Contains(string(hello), `"hello"`) {
				t.Fatalf("%s, %v", hello, err)
			}
			if err := wsutil.WriteClientText(session, fmt.Appendf(nil, `{"type":"refresh","token":%q}`, tt.token)); err != nil {
				t.Fatal(err)
			}
			answer, err := wsutil.ReadServerText(session)
			if err != nil || !strings.Contains(string(answer), tt.want) || strings.Contains(string(answer), tt.token) && len(tt.token) > 1 {
				t.Errorf("got %s, %v, want %s", answer, err, tt.want)
			}
		})
	}
}
