package main

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/golang-jwt/jwt/v5"

	"fanfare/server"
)

// secretFile writes an HMAC secret.
func secretFile(t *testing.T) (path string, secret []byte) {
	t.Helper()
	path, secret = filepath.Join(t.TempDir(), "secret"), []byte(rand.Text()+rand.Text())
	if err := os.WriteFile(path, secret, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, secret
}

func TestAuthJWT(t *testing.T) {
	path, secret := secretFile(t)
	p := startServer(t, nil, "--auth=jwt", "--jwt-key-file="+path, "--jwt-issuer=backend", "--jwt-audience=fanfare")
	token := func(issuer, audience string, key []byte) string {
		s, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
			"sub": "alice", "iss": issuer, "aud": audience, "exp": time.Now().Add(time.Hour).Unix(), "topics": []string{"news"},
		}).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, test := range []struct {
		name, query string
		status      int // 0: connected
	}{
		{"good", "?token=" + token("backend", "fanfare", secret), 0},
		{"none", "?user=alice", 401},
		{"other key", "?token=" + token("backend", "fanfare", []byte(rand.Text())), 401},
		{"other issuer", "?token=" + token("another", "fanfare", secret), 401},
		{"other audience", "?token=" + token("backend", "another", secret), 401},
		{"other topic", "?topic=gossip&token=" + token("backend", "fanfare", secret), 403},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.status == 0 {
				c := p.connect("/ws" + test.query)
				runProgram(t, "", nil, "push", "--api="+p.api, "alice", "hello")
				if msg, _ := receive(t, c); msg != "hello" {
					t.Errorf("received %q", msg)
				}
				return
			}
			c, _, _, err := ws.Dial(context.Background(), "ws://"+p.public+"/ws"+test.query)
			if err == nil {
				c.Close()
			}
			var rejected ws.StatusError
			if !errors.As(err, &rejected) || int(rejected) != test.status {
				t.Errorf("%v, want status %d", err, test.status)
			}
		})
	}
}

// TestAuthJWTBeyondLoopback: with tokens the server listens on any address.
func TestAuthJWTBeyondLoopback(t *testing.T) {
	path, _ := secretFile(t)
	for _, test := range []struct {
		name string
		args []string
		ok   bool
	}{
		{"none", nil, false},
		{"insecure", []string{"--insecure-identity"}, true},
		{"jwt", []string{"--auth=jwt", "--jwt-key-file=" + path}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			plan, err := parseServe(t, append(test.args, "--listen=0.0.0.0:0", "--data-dir=none")...).Plan(slog.New(slog.DiscardHandler))
			if (err == nil) != test.ok {
				t.Fatalf("config says %v", err)
			}
			if err != nil {
				return
			}
			srv, err := server.New(plan.Server) // it listens only when it is started
			if err != nil {
				t.Fatal(err)
			}
			if err := srv.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}
