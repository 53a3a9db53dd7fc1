package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/MicahParks/jwkset"
	"github.com/go-json-experiment/json"
)

// setSigners has a private key for each kid of a set; that of "lost" is in no set.
var setSigners = func() map[string]any {
	ec := func(c elliptic.Curve) any {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			panic(err)
		}
		return k
	}
	return map[string]any{
		"rsa": signers["RS256"][0], "p256": signers["ES256"][0], "p384": ec(elliptic.P384()), "p521": ec(elliptic.P521()),
		"ed": signers["EdDSA"][0], "lost": signers["ES256"][1], "other": signers["RS256"][1],
	}
}()

// algorithmsOf are the algorithms of each key.
var algorithmsOf = map[string][]string{
	"rsa": {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}, "p256": {"ES256"}, "p384": {"ES384"}, "p521": {"ES512"}, "ed": {"EdDSA"},
}

// jwk is the public half of a private key as a member of a set.
func jwk(kid string, private any, more ...any) map[string]any {
	k, err := jwkset.NewJWKFromKey(private.(crypto.Signer).Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: kid}})
	if err != nil {
		panic(err)
	}
	m := map[string]any{}
	b, err := json.Marshal(k.Marshal(), json.OmitZeroStructFields(true))
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		panic(err)
	}
	delete(m, "alg")
	for i := 0; i < len(more); i += 2 {
		if m[more[i].(string)] = more[i+1]; more[i+1] == nil {
			delete(m, more[i].(string))
		}
	}
	return m
}

func jwksText(keys ...map[string]any) []byte {
	b, err := json.Marshal(map[string]any{"keys": append([]map[string]any{}, keys...)})
	if err != nil {
		panic(err)
	}
	return b
}

// allKeys are the members of a set with all keys that are published.
func allKeys() (keys []map[string]any) {
	for _, kid := range slices.Sorted(maps.Keys(algorithmsOf)) {
		keys = append(keys, jwk(kid, setSigners[kid]))
	}
	return keys
}

// fixedSet is a set of an issuer as a file has it.
func fixedSet(t testing.TB, issuer string, data []byte, audiences ...string) *KeySet {
	t.Helper()
	keys, err := parseJWKS(data, true)
	if err != nil {
		t.Fatal(err)
	}
	ks := &KeySet{cfg: KeySetConfig{Source: issuer + ".json", Issuer: issuer, Audiences: audiences}}
	ks.keys.Store(keys)
	return ks
}

// signBy signs with the key of a kid, for an issuer.
func signBy(algorithm, kid, issuer string, change func(header, claims map[string]any)) string {
	return sign(algorithm, setSigners[kid], func(h, c map[string]any) {
		h["kid"], c["iss"] = kid, issuer
		if change != nil {
			change(h, c)
		}
	})
}

// TestJWKSAlgorithms: every key verifies its own algorithms, with and without a kid, and
// no others.
func TestJWKSAlgorithms(t *testing.T) {
	keys := &Keys{Sets: []*KeySet{fixedSet(t, "us", jwksText(allKeys()...))}}
	for kid, algorithms := range algorithmsOf {
		for _, algorithm := range algorithms {
			if id, err := verified(keys, signBy(algorithm, kid, "us", nil)); err != nil || id.User != "alice" {
				t.Errorf("%s: %v, %v", algorithm, id, err)
			}
			if _, err := verified(keys, signBy(algorithm, kid, "us", func(h, _ map[string]any) { delete(h, "kid") })); err != nil {
				t.Errorf("%s without a kid: %v", algorithm, err)
			}
			for other := range algorithmsOf {
				if other != kid {
					_, err := verified(keys, signBy(algorithm, kid, "us", func(h, _ map[string]any) { h["kid"] = other }))
					checkRejection(t, err, 401, "no key with the token's kid and algorithm")
				}
			}
			// A key whose alg is another one is for that alone.
			for _, alg := range algorithms {
				if set := fixedSet(t, "us", jwksText(jwk(kid, setSigners[kid], "alg", alg))); alg != algorithm {
					if _, err := verified(&Keys{Sets: []*KeySet{set}}, signBy(algorithm, kid, "us", nil)); err == nil {
						t.Errorf("a key for %s has verified %s", alg, algorithm)
					}
				}
			}
		}
	}
}

// TestJWKSConfusion: a token that no key of the set has signed is rejected. RFC 8725
// sections 2.1 and 3.1.
func TestJWKSConfusion(t *testing.T) {
	keys := &Keys{Sets: []*KeySet{fixedSet(t, "us", jwksText(allKeys()...))}}
	public := publicPEM(setSigners["rsa"])
	modulus, err := base64.RawURLEncoding.DecodeString(jwk("rsa", setSigners["rsa"])["n"].(string))
	if err != nil {
		t.Fatal(err)
	}
	claims := func(h, c map[string]any) { h["kid"], c["iss"] = "rsa", "us" }
	for name, token := range map[string]string{
		"the public key as a secret": sign("HS256", public, claims),
		"the modulus as a secret":    sign("HS256", modulus, claims),
		"another key":                sign("RS256", setSigners["other"], claims),
		"unsigned":                   unsigned("none", `"kid":"rsa"`),
		"unsigned, without kid":      unsigned("none", `"x":1`),
		"empty signature":            unsigned("RS256", `"kid":"rsa"`),
		"a key in the header":        signBy("RS256", "other", "us", func(h, _ map[string]any) { h["kid"], h["jwk"] = "rsa", jwk("rsa", setSigners["other"]) }),
		"a kid that is a number":     signBy("RS256", "rsa", "us", func(h, _ map[string]any) { h["kid"] = 7 }),
		"a kid in another case":      signBy("RS256", "rsa", "us", func(h, _ map[string]any) { h["kid"] = "RSA" }),
	} {
		if _, err := verified(keys, token); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// unsigned is a valid token of us, with an empty signature.
func unsigned(alg, header string) string {
	e := base64.RawURLEncoding.EncodeToString
	return e(fmt.Appendf(nil, `{"alg":%q,%s}`, alg, header)) + "." + e([]byte(`{"sub":"alice","iss":"us","exp":9999999999}`)) + "."
}

// TestJWKSIssuers: a set verifies tokens of its issuer for its audience alone, whatever
// other sets and fixed keys there are.
func TestJWKSIssuers(t *testing.T) {
	mine, theirs := jwksText(jwk("p256", setSigners["p256"])), jwksText(jwk("ed", setSigners["ed"]), jwk("rsa", setSigners["rsa"]))
	sets := []*KeySet{
		fixedSet(t, "mine", mine, "push", "chat"), fixedSet(t, "theirs", theirs),
		fixedSet(t, "twice", mine, "a"), fixedSet(t, "twice", theirs, "b"),
	}
	file := keysFor(t, "HS256")
	of := func(issuer, audience string) *Keys {
		k := *file
		k.Issuer, k.Audience, k.Sets = issuer, audience, sets
		return &k
	}
	hs := func(issuer, audience string) string {
		return sign("HS256", signers["HS256"][0], func(_, c map[string]any) {
			c["iss"], c["aud"] = issuer, audience
			if issuer == "" {
				delete(c, "iss")
			}
		})
	}
	set := func(algorithm, kid, issuer, audience string) string {
		return signBy(algorithm, kid, issuer, func(_, c map[string]any) { c["aud"] = audience })
	}
	for _, tt := range []struct {
		name  string
		keys  *Keys
		token string
		want  string
	}{
		{"a set", of("", ""), set("ES256", "p256", "mine", "push"), ""},
		{"its second audience", of("", ""), set("ES256", "p256", "mine", "chat"), ""},
		{"another audience", of("", ""), set("ES256", "p256", "mine", "mail"), "another audience"},
		{"the audience of the file", of("", "mail"), set("ES256", "p256", "mine", "mail"), "another audience"},
		{"a set without an audience", of("", "mail"), set("EdDSA", "ed", "theirs", "x"), ""},
		{"the key of another issuer", of("", ""), set("ES256", "p256", "theirs", "push"), "no key with the token's kid"},
		{"and the other way round", of("", ""), set("EdDSA", "ed", "mine", "push"), "no key with the token's kid"},
		{"the key of another issuer, without a kid", of("", ""), signBy("ES256", "p256", "theirs", func(h, c map[string]any) { delete(h, "kid"); c["aud"] = "push" }), "no key"},
		{"an issuer without a set", of("", ""), set("ES256", "p256", "nobody", "push"), "no key for the token's algorithm"},
		{"an issuer without a set, fixed issuer", of("us", ""), set("ES256", "p256", "nobody", "push"), "another issuer"},
		{"the file for an issuer that has a set", of("", ""), hs("mine", "push"), "no key with the token's kid"},
		{"the file for any other issuer", of("", ""), hs("nobody", "x"), ""},
		{"the file for a token without an issuer", of("", ""), hs("", "x"), ""},
		{"the file for its issuer", of("us", "x"), hs("us", "x"), ""},
		{"the file for another issuer", of("us", ""), hs("nobody", "x"), "another issuer"},
		{"the file for no issuer", of("us", ""), hs("", "x"), "lacks the claim iss"},
		{"the file for the issuer of a set", of("mine", "x"), hs("mine", "x"), ""},
		{"a set beside the file for the same issuer", of("mine", "x"), set("ES256", "p256", "mine", "push"), ""},
		{"the file's audience for a set's key", of("mine", "x"), set("ES256", "p256", "mine", "x"), "another audience"},
		{"the first of two sets", of("", ""), set("ES256", "p256", "twice", "a"), ""},
		{"the second of two sets", of("", ""), set("EdDSA", "ed", "twice", "b"), ""},
		{"the audience of the other of two sets", of("", ""), set("EdDSA", "ed", "twice", "a"), "another audience"},
		{"only sets", &Keys{Sets: sets}, set("EdDSA", "ed", "theirs", "x"), ""},
		{"only sets, no issuer", &Keys{Sets: sets}, hs("", "x"), "lacks the claim iss"},
		{"expired", of("", ""), signBy("EdDSA", "ed", "theirs", func(_, c map[string]any) { c["exp"] = 1 }), "has expired"},
	} {
		_, err := verified(tt.keys, tt.token)
		t.Run(tt.name, func(t *testing.T) { checkRejection(t, err, 401, tt.want) })
	}
}

// TestParseJWKS: keys that cannot be used are skipped with a reason.
func TestParseJWKS(t *testing.T) {
	rsaKey, p256 := setSigners["rsa"], setSigners["p256"]
	even := base64.RawURLEncoding.EncodeToString(big.NewInt(4).Bytes())
	secret := func(n int, more ...any) map[string]any {
		m := map[string]any{"kty": "oct", "kid": "s", "k": base64.RawURLEncoding.EncodeToString(make([]byte, n))}
		for i := 0; i < len(more); i += 2 {
			m[more[i].(string)] = more[i+1]
		}
		return m
	}
	small := func() map[string]any {
		m := jwk("small", rsaKey)
		m["n"] = base64.RawURLEncoding.EncodeToString(slices.Concat([]byte{0xff}, make([]byte, 126), []byte{1}))
		return m
	}
	many := make([]map[string]any, maxSetKeys+3)
	for i := range many {
		many[i] = jwk(fmt.Sprint(i), p256)
	}
	for _, tt := range []struct {
		name    string
		text    []byte
		secrets bool
		want    string // a part of the error, or of the reason why the first key is skipped
	}{
		{"all", jwksText(allKeys()...), false, ""},
		{"for signatures", jwksText(jwk("a", rsaKey, "use", "sig", "key_ops", []string{"verify"})), false, ""},
		{"for encryption", jwksText(jwk("a", rsaKey, "use", "enc")), false, `its use is "enc"`},
		{"for signing", jwksText(jwk("a", rsaKey, "key_ops", []string{"sign"})), false, `do not contain verify`},
		{"unknown algorithm", jwksText(jwk("a", rsaKey, "alg", "RSA-OAEP")), false, `its alg is "RSA-OAEP"`},
		{"algorithm of another type", jwksText(jwk("a", rsaKey, "alg", "ES256")), false, `its alg is "ES256"`},
		{"algorithm of another curve", jwksText(jwk("a", p256, "alg", "ES384")), false, `its alg is "ES384"`},
		{"none", jwksText(jwk("a", rsaKey, "alg", "none")), false, `its alg is "none"`},
		{"RSA as HMAC", jwksText(jwk("a", rsaKey, "alg", "HS256")), false, `its alg is "HS256"`},
		{"Ed25519 by its newer name", jwksText(jwk("a", setSigners["ed"], "alg", "Ed25519")), false, ""},
		{"a certificate beside it", jwksText(jwk("a", rsaKey, "x5c", []string{"not a certificate"})), false, ""},
		{"private", jwksText(jwk("a", p256, "d", "AQAB")), false, "private key"},
		{"small", jwksText(small()), false, "RSA of 1024 bits"},
		{"even exponent", jwksText(jwk("a", rsaKey, "e", even)), false, "exponent"},
		{"long exponent", jwksText(jwk("a", rsaKey, "e", "AQAAAAAAAAAAAAAAAQ")), false, "out of range"},
		{"off the curve", jwksText(jwk("a", p256, "x", jwk("b", setSigners["lost"])["x"])), false, "not on the specified curve"},
		{"other curve", jwksText(jwk("a", p256, "crv", "secp256k1")), false, "unsupported curve"},
		{"key agreement", jwksText(jwk("a", setSigners["ed"], "crv", "X25519")), false, "does not verify signatures"},
		{"unknown type", jwksText(map[string]any{"kty": "AKP", "kid": "a"}), false, "AKP"},
		{"member of another type", jwksText(jwk("a", p256, "kid", 7)), false, "kid"},
		{"published secret", jwksText(secret(32)), false, "must not be published"},
		{"secret", jwksText(secret(32)), true, ""},
		{"long secret", jwksText(secret(64, "alg", "HS512")), true, ""},
		{"short secret", jwksText(secret(31)), true, "has 31 bytes"},
		{"secret for a longer hash", jwksText(secret(32, "alg", "HS384")), true, `its alg is "HS384"`},
		{"secret for RSA", jwksText(secret(32, "alg", "RS256")), true, `its alg is "RS256"`},
		{"empty", jwksText(), false, "the key set is empty"},
		{"not a set", []byte(`{"issuer":"x"}`), false, `want {"keys":[…]}`},
		{"a page", []byte(`<html>`), false, "not a JSON Web Key Set"},
		{"keys twice", []byte(`{"keys":[],"keys":[]}`), false, "duplicate"},
		{"two documents", append(jwksText(allKeys()...), "{}"...), false, "not a JSON Web Key Set"},
	} {
		k, err := parseJWKS(tt.text, tt.secrets)
		if tt.want == "" {
			if err != nil || len(k.skipped) > 0 {
				t.Errorf("%s: %v, %+v", tt.name, err, k)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	k, err := parseJWKS(jwksText(append(allKeys(), jwk("enc", rsaKey, "use", "enc"))...), false)
	if err != nil || len(k.kids) != 5 || len(k.skipped) != 1 || !strings.HasPrefix(k.skipped[0], "key 6: ") {
		t.Errorf("one of six is for encryption: %v, %+v", err, k)
	}
	k, err = parseJWKS(jwksText(many...), false)
	if err != nil || len(k.kids) != maxSetKeys || !strings.HasPrefix(k.skipped[0], "3 keys beyond") {
		t.Errorf("too many keys: %v, %+v", err, k)
	}
	// Without a kid only a few keys are tried.
	crowd := &Keys{Sets: []*KeySet{fixedSet(t, "us", jwksText(many[:maxKeys+1]...))}}
	_, err = verified(crowd, signBy("ES256", "p256", "us", func(h, _ map[string]any) { delete(h, "kid") }))
	checkRejection(t, err, 401, "too many keys to try")
	if _, err := verified(crowd, signBy("ES256", "p256", "us", func(h, _ map[string]any) { h["kid"] = "3" })); err != nil {
		t.Error(err)
	}
}

// FuzzJWKS: no key set is a reason to panic, and one that has no key is an error.
func FuzzJWKS(f *testing.F) {
	f.Add(jwksText(allKeys()...), true)
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`), false)
	f.Fuzz(func(t *testing.T, text []byte, secrets bool) {
		k, err := parseJWKS(text, secrets)
		if err != nil {
			return
		}
		for id, keys := range k.by {
			for _, key := range keys {
				switch key.(type) {
				case []byte:
					if !secrets || !strings.HasPrefix(id.algorithm, "HS") {
						t.Errorf("a secret for %s", id.algorithm)
					}
				case ed25519.PublicKey:
				default:
					if strings.HasPrefix(id.algorithm, "HS") {
						t.Errorf("%T for %s", key, id.algorithm)
					}
				}
			}
		}
	})
}
