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
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"

	"fanfare/server"
)

// signers has one key for each algorithm, and a second one that the server does not know.
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

// keysFor returns keys that verify what the first of signers for an algorithm signs.
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

// sign makes a valid token of alice's, unless change spoils it.
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

// verified verifies a token without asking for topics.
func verified(keys *Keys, token string) (server.Identity, error) {
	return newVerifier(keys).verify(token, nil)
}

// verify verifies a token with keys at hand.
func (v *verifier) verify(token string, asked []string) (server.Identity, error) {
	c, _, err := v.parse(token)
	return v.identity(token, c, asked, err)
}

// signRaw makes a token of a header and claims as they are.
func signRaw(header, claims string) string {
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	mac := hmac.New(sha256.New, signers["HS256"][0].([]byte))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func checkRejection(t *testing.T, err error, status int, part string) {
	t.Helper()
	var r *server.Rejection
	switch {
	case part == "":
		if err != nil {
			t.Errorf("got %v", err)
		}
	case !errors.As(err, &r) || r.Status != status || !strings.Contains(r.Text, part):
		t.Errorf("got %v, want %d with %q", err, status, part)
	}
}

// FuzzToken checks that every token is rejected with 401 or was signed, and that its
// user is UTF-8.
func FuzzToken(f *testing.F) {
	key := signers["HS256"][0].([]byte)
	good := sign("HS256", key, nil)
	f.Add(good)
	f.Add("a.b.c")
	f.Add("..")
	f.Add(base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + good[strings.Index(good, "."):])
	f.Add(sign("HS256", key, func(h, _ map[string]any) { h["alg"] = 7 }))
	f.Add(sign("HS256", key, func(h, _ map[string]any) { h["crit"] = nil }))
	v := newVerifier(keysFor(f, "HS256"))
	f.Fuzz(func(t *testing.T, token string) {
		id, err := v.verify(token, nil)
		var r *server.Rejection
		if err != nil && (!errors.As(err, &r) || r.Status != 401) {
			t.Errorf("%q: %v", token, err)
		}
		if err != nil {
			return
		}
		if !utf8.ValidString(id.User) {
			t.Errorf("%q has user %q", token, id.User)
		}
		dot := max(strings.LastIndexByte(token, '.'), 0)
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(token[:dot]))
		if "."+base64.RawURLEncoding.EncodeToString(mac.Sum(nil)) != token[dot:] {
			t.Errorf("%q was accepted", token)
		}
	})
}

// FuzzClaims signs any claims. Those that are accepted are a valid document with the
// same user for a strict reader.
func FuzzClaims(f *testing.F) {
	for _, c := range []string{`{"sub":"a","exp":9999999999}`, `{"sub":"a","SUB":"b","exp":9999999999}`,
		`{"sub":"a","sub":"b","exp":9999999999}`, "{\"sub\":\"a\xff\",\"exp\":9999999999}", `{"sub":"a","exp":1e400}`, `null`} {
		f.Add(c)
	}
	v := newVerifier(keysFor(f, "HS256"))
	f.Fuzz(func(t *testing.T, text string) {
		id, err := v.verify(signRaw(`{"alg":"HS256"}`, text), nil)
		if err != nil {
			return
		}
		var strict map[string]any
		if err := json.Unmarshal([]byte(text), &strict); err != nil {
			t.Fatalf("%q was accepted: %v", text, err)
		}
		if strict["sub"] != id.User || !utf8.ValidString(id.User) {
			t.Errorf("%q has user %q", text, id.User)
		}
		if exp, ok := strict["exp"].(float64); !ok || exp < float64(time.Now().Unix()-10) {
			t.Errorf("%q was accepted with exp %v", text, strict["exp"])
		}
	})
}
