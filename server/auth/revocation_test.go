package auth

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"fanfare/server"
	"fanfare/server/revoke"
)

// TestRevocation: tokens of fixed keys and of key sets are revoked by user, by jti and by
// iat; a token without iat counts as issued before any time.
func TestRevocation(t *testing.T) {
	now := time.Now().Unix()
	const iss = "https://id.example.com"
	for name, keys := range map[string]*Keys{"key": keysFor(t, "ES256"), "key set": {Sets: []*KeySet{fixedSet(t, iss, jwksText(allKeys()...))}}} {
		t.Run(name, func(t *testing.T) {
			list, err := revoke.New(t.Context(), revoke.Config{Age: time.Hour, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			srv := start(t, keys, server.Config{Revocations: list})
			for _, e := range []revoke.Entry{{Token: "stolen"}, {User: "blocked"}, {User: "careless", Before: float64(now - 10)}} {
				if _, err := srv.Revoke(t.Context(), e); err != nil {
					t.Fatal(err)
				}
			}
			for _, tt := range []struct {
				user, jti string
				iat       any
				status    int
			}{
				{"alice", "", nil, 200},
				{"alice", "mine", now, 200},
				{"alice", "stolen", now, 401},
				{"blocked", "", now, 401},
				{"careless", "", now - 11, 401},
				{"careless", "", nil, 401},
				{"careless", "", now - 10, 200},
			} {
				token := signBy("ES256", "p256", iss, func(_, c map[string]any) {
					c["sub"] = tt.user
					if tt.jti != "" {
						c["jti"] = tt.jti
					}
					if delete(c, "iat"); tt.iat != nil {
						c["iat"] = tt.iat
					}
				})
				r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+srv.Addr().String()+"/ws?token="+token, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Fanfare-Check", "1") // what a handshake would get
				transport := &http.Transport{DisableKeepAlives: true}
				resp, err := transport.RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil {
					t.Fatal(err)
				}
				if resp.StatusCode != tt.status || tt.status == 401 && !strings.Contains(string(body), "is revoked") {
					t.Errorf("%+v: %d %s", tt, resp.StatusCode, body)
				}
			}
		})
	}
}
