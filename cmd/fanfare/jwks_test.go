package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/go-json-experiment/json"
	"github.com/gobwas/ws"
	"github.com/golang-jwt/jwt/v5"
)

// keySetFile writes a set with the public half of a new key, which signs tokens.
func keySetFile(t *testing.T) (path string, sign func(issuer, audience string) string) {
	t.Helper()
	text, sign := newKeySet(t)
	path = filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, sign
}

func newKeySet(t *testing.T) (text []byte, sign func(issuer, audience string) string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := jwkset.NewJWKFromKey(private.Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: "k1", ALG: jwkset.AlgES256, USE: jwkset.UseSig}})
	if err != nil {
		t.Fatal(err)
	}
	if text, err = json.Marshal(map[string]any{"keys": []jwkset.JWKMarshal{k.Marshal()}}); err != nil {
		t.Fatal(err)
	}
	return text, func(issuer, audience string) string {
		token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"sub": "alice", "iss": issuer, "aud": audience, "exp": time.Now().Add(time.Hour).Unix()})
		token.Header["kid"] = "k1"
		s, err := token.SignedString(private)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

// TestJWKSPlan: what is wrong with --jwks is an error of serve, check and reload.
func TestJWKSPlan(t *testing.T) {
	withoutRace(t)
	file, _ := keySetFile(t)
	secret, _ := secretFile(t)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "--auth jwt needs --jwt-key-file or --jwks"},
		{[]string{"--jwks=" + file}, "has no issuer: add ,issuer=ISS"},
		{[]string{"--jwks=" + file + ",issuer=us"}, "has no audience: add ,audience=AUD"},
		{[]string{"--jwks=" + file + ",issuer=us,audience=*"}, ""},
		{[]string{"--jwks=" + file, "--jwt-issuer=us", "--jwt-audience=push"}, ""},
		{[]string{"--jwks=" + file + ",issuer=us,audience=a", "--jwks=https://id.example.com/keys,issuer=them,audience=a", "--jwt-key-file=" + secret}, ""},
		{[]string{"--jwks=" + secret + ",issuer=us,audience=a"}, "not a JSON Web Key Set"},
		{[]string{"--jwks=http://id.example.com/keys,issuer=us,audience=a"}, "unless this is allowed by ,insecure-http"},
		{[]string{"--jwks=http://id.example.com/keys,issuer=us,audience=a,insecure-http"}, ""},
	} {
		_, err := parseServe(t, append(tt.args, "--auth=jwt", "--data-dir=none")...).Plan(slog.New(slog.DiscardHandler))
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%q: %v, want %q", tt.args, err, tt.want)
		}
	}
	if _, err := parseServe(t, "--jwks="+file+",issuer=us,audience=a").Plan(slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "it needs --auth jwt") {
		t.Errorf("without --auth jwt: %v", err)
	}
}

// TestJWKS: a server verifies tokens with a set that it fetches, reloads with another, and
// has metrics.
func TestJWKS(t *testing.T) {
	text, sign := newKeySet(t)
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(text) }))
	defer issuer.Close()
	p := startServer(t, nil, "--auth=jwt", "--jwks="+issuer.URL+",issuer=us,audience=push")
	p.connect("/ws?token=" + sign("us", "push"))
	for name, token := range map[string]string{"other issuer": sign("them", "push"), "other audience": sign("us", "mail")} {
		if c, _, _, err := ws.Dial(t.Context(), "ws://"+p.public+"/ws?token="+token); err == nil {
			c.Close()
			t.Errorf("%s: accepted", name)
		}
	}
	metrics := string(get(t, "http://"+p.api+"/metrics"))
	for _, want := range []string{`fanfare_jwks_keys{issuer="us"} 1`, `fanfare_jwks_fetches_total{issuer="us"} `, `fanfare_jwks_failures_total{issuer="us"} 0`, `fanfare_jwks_age_seconds{issuer="us"} `, `fanfare_jwks_unknown_keys_total{issuer="us"} 0`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}
