package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// signers has one key of each kind, and a second one that the server does not know.
var signers = func() map[string][2]any {
	rsaKey := func() any {
		k, err := rsa.GenerateKey(rand.Reader, minRSA)
		if err != nil {
			panic(err)
		}
		return k
	}
	ecKey := func() any {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		return k
	}
	edKey := func() any {
		_, k, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			panic(err)
		}
		return k
	}
	return map[string][2]any{
		"HS256": {[]byte(strings.Repeat("secret", 6)), []byte(strings.Repeat("other!", 6))},
		"RS256": {rsaKey(), rsaKey()},
		"ES256": {ecKey(), ecKey()},
		"EdDSA": {edKey(), edKey()},
	}
}()

// publicPEM is the public half of a private key.
func publicPEM(private any) []byte {
	der, err := x509.MarshalPKIXPublicKey(private.(crypto.Signer).Public())
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// keysFor are those that verify what the signers' first key of an algorithm signs.
func keysFor(t testing.TB, algorithm string) *Keys {
	t.Helper()
	data := publicPEM(signers["RS256"][0])
	switch algorithm {
	case "HS256":
		data = signers["HS256"][0].([]byte)
	case "all":
		data = slices.Concat(data, publicPEM(signers["ES256"][0]), publicPEM(signers["EdDSA"][0]))
	default:
		data = publicPEM(signers[algorithm][0])
	}
	k, err := parseKeys(data)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// sign makes a token. Without claims it is a good one of alice's.
func sign(algorithm string, key any, change func(header, claims map[string]any)) string {
	token := jwt.NewWithClaims(jwt.GetSigningMethod(algorithm), jwt.MapClaims{
		"sub": "alice", "exp": time.Now().Add(time.Hour).Unix(),
	})
	if change != nil {
		change(token.Header, token.Claims.(jwt.MapClaims))
	}
	s, err := token.SignedString(key)
	if err != nil {
		panic(err)
	}
	return s
}

// identified runs a token through an endpoint's Identify.
func identified(ep Endpoint, query, authorization string) (Identity, error) {
	r := &Request{path: []byte(ep.Path), query: []byte(query)}
	if authorization != "" {
		r.headers = []header{{[]byte("authorization"), []byte(authorization)}}
	}
	return ep.Identify(r)
}

func checkRefusal(t *testing.T, err error, status int, part string) {
	t.Helper()
	var r *Refusal
	switch {
	case part == "":
		if err != nil {
			t.Errorf("got %v", err)
		}
	case !errors.As(err, &r) || r.Status != status || !strings.Contains(r.Text, part):
		t.Errorf("got %v, want %d with %q", err, status, part)
	}
}

// FuzzToken: whatever a client sends is refused with 401 or was signed.
func FuzzToken(f *testing.F) {
	key := signers["HS256"][0].([]byte)
	good := sign("HS256", key, nil)
	f.Add(good)
	f.Add("a.b.c")
	f.Add("..")
	f.Add(base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + good[strings.Index(good, "."):])
	f.Add(sign("HS256", key, func(h, _ map[string]any) { h["alg"] = 7 }))
	f.Add(sign("HS256", key, func(h, _ map[string]any) { h["crit"] = nil }))
	ep := Authenticated("/ws", keysFor(f, "HS256"))
	f.Fuzz(func(t *testing.T, token string) {
		_, err := identified(ep, "", "Bearer "+token)
		var r *Refusal
		if err != nil && (!errors.As(err, &r) || r.Status != 401) {
			t.Errorf("%q: %v", token, err)
		}
		if err != nil {
			return
		}
		token = strings.TrimSpace(token)
		dot := max(strings.LastIndexByte(token, '.'), 0)
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(token[:dot]))
		if "."+base64.RawURLEncoding.EncodeToString(mac.Sum(nil)) != token[dot:] {
			t.Errorf("%q was good", token)
		}
	})
}
