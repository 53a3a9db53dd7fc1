package auth

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// parsedTwice parses a token in full and, if it is valid, again with a header that is known.
func (v *verifier) parsedTwice(t *testing.T, token string) {
	t.Helper()
	full, _, err := v.parse(token)
	if err != nil {
		t.Fatal(err)
	}
	c := v.quick(token)
	if c == nil || !reflect.DeepEqual(c, full) {
		t.Errorf("quick: %+v, in full: %+v", c, full)
	}
}

// A token with a known header is verified without package jwt's parser, with the same outcome.
func TestQuick(t *testing.T) {
	for algorithm, keys := range signers {
		t.Run(algorithm, func(t *testing.T) {
			v := newVerifier(keysFor(t, algorithm))
			token := sign(algorithm, keys[0], func(_, c map[string]any) {
				c["topics"], c["aud"], c["jti"], c["iat"] = []string{"a", "b*"}, "x", "7", 1
				c["limits"], c["labels"] = map[string]any{"topics": 3}, map[string]any{"os": "ios"}
			})
			if v.quick(token) != nil {
				t.Error("an unknown header is accepted")
			}
			v.parsedTwice(t, token)
			set := func(name string, value any) string {
				return sign(algorithm, keys[0], func(_, c map[string]any) { c[name] = value })
			}
			long := set("extra", strings.Repeat("x", mostDecoded))
			if v.quick(long) != nil {
				t.Error("a long token is decoded")
			}
			if _, _, err := v.parse(long); err != nil {
				t.Error(err)
			}
			parts := strings.Split(token, ".")
			for name, bad := range map[string]string{
				"other key":       sign(algorithm, keys[1], nil),
				"other claims":    parts[0] + "." + strings.Split(set("sub", "eve"), ".")[1] + "." + parts[2],
				"no signature":    parts[0] + "." + parts[1] + ".",
				"two parts":       parts[0] + "." + parts[1],
				"four parts":      token + ".",
				"loose bits":      token + "=",
				"expired":         set("exp", time.Now().Add(-time.Hour).Unix()),
				"without expiry":  set("exp", nil),
				"not yet valid":   set("nbf", time.Now().Add(time.Hour).Unix()),
				"null":            set("nbf", nil),
				"a list of nulls": set("topics", []any{nil}),
				"other type":      set("sub", 7),
			} {
				if v.quick(bad) != nil {
					t.Errorf("%s: accepted", name)
				}
				if _, _, err := v.parse(bad); err == nil {
					t.Errorf("%s: accepted in full", name)
				}
			}
		})
	}
}

// What signers that are not strict write is not accepted, though its header is known.
func TestQuickIsStrict(t *testing.T) {
	v := newVerifier(keysFor(t, "HS256"))
	const header = `{"alg":"HS256","typ":"JWT"}`
	v.parsedTwice(t, signRaw(header, `{"sub":"a","exp":9999999999}`))
	for _, claims := range []string{
		`{"sub":"a","sub":"b","exp":9999999999}`, "{\"sub\":\"a\xff\",\"exp\":9999999999}", `["sub"]`, `null`, `7`, ``,
		`{"sub":"a","exp":9999999999} {}`, `{"sub":"\ud800","exp":9999999999}`, `{"sub":"a","exp":1e400}`, `{"SUB":"a"}`,
	} {
		if c := v.quick(signRaw(header, claims)); c != nil {
			t.Errorf("%q is accepted: %+v", claims, c)
		}
	}
}

// The keys of a set are found by the kid, and a key that a later set lacks verifies nothing.
func TestQuickKeySet(t *testing.T) {
	keys := &Keys{Leeway: DefaultLeeway, Sets: []*KeySet{fixedSet(t, "https://a", jwksText(allKeys()...))}}
	v := newVerifier(keys)
	one := signBy("ES256", "p256", "https://a", nil)
	v.parsedTwice(t, one)
	if v.quick(signBy("ES256", "p256", "https://b", nil)) != nil {
		t.Error("another issuer's token is accepted")
	}
	keys.Sets[0].keys.Store(fixedSet(t, "https://a", jwksText(jwk("ed", setSigners["ed"]))).keys.Load())
	if v.quick(one) != nil {
		t.Error("a key that was withdrawn verifies a token")
	}
}

// The headers that are kept are bounded.
func TestQuickHeaders(t *testing.T) {
	v := newVerifier(keysFor(t, "HS256"))
	key := signers["HS256"][0]
	for i := range 3 * mostHeaders {
		v.parsedTwice(t, sign("HS256", key, func(h, _ map[string]any) { h["kid"] = strings.Repeat("k", i) }))
	}
	if n := len(*v.headers.known.Load()); n > mostHeaders+1 {
		t.Errorf("%d headers", n)
	}
	long := sign("HS256", key, func(h, _ map[string]any) { h["kid"] = strings.Repeat("k", longestHeader) })
	if _, _, err := v.parse(long); err != nil {
		t.Error(err)
	}
	if v.quick(long) != nil {
		t.Error("a long header is kept")
	}
}

// A token whose header is known but which is parsed in full changes nothing.
func TestQuickKnownHeader(t *testing.T) {
	v := newVerifier(keysFor(t, "HS256"))
	v.parsedTwice(t, sign("HS256", signers["HS256"][0], nil))
	before := v.headers.known.Load()
	long := sign("HS256", signers["HS256"][0], func(_, c map[string]any) { c["extra"] = strings.Repeat("x", mostDecoded) })
	if _, _, err := v.parse(long); err != nil {
		t.Fatal(err)
	}
	if v.headers.known.Load() != before {
		t.Error("the headers are copied for one that is known")
	}
}

func TestTokenAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	v := newVerifier(keysFor(t, "HS256"))
	token := sign("HS256", signers["HS256"][0], func(_, c map[string]any) { c["jti"], c["iat"], c["topics"] = "7", 1, []string{"a", "b*"} })
	if _, _, err := v.parse(token); err != nil {
		t.Fatal(err)
	}
	n := testing.AllocsPerRun(1000, func() {
		if _, _, err := v.parse(token); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("%v allocations", n)
	if n > 20 {
		t.Errorf("%v allocations to verify a token, want at most 20", n)
	}
}

func BenchmarkToken(b *testing.B) {
	v := newVerifier(keysFor(b, "HS256"))
	token := sign("HS256", signers["HS256"][0], func(_, c map[string]any) { c["jti"], c["iat"], c["topics"] = "7", 1, []string{"a", "b*"} })
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := v.parse(token); err != nil {
			b.Fatal(err)
		}
	}
}
