package auth

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func TestAlgorithms(t *testing.T) {
	for algorithm, pair := range signers {
		keys := keysFor(t, algorithm)
		if id, err := verified(keys, sign(algorithm, pair[0], nil)); err != nil || id.User != "alice" {
			t.Errorf("%s: %v, %v", algorithm, id, err)
		}
		if _, err := verified(keys, sign(algorithm, pair[1], nil)); err == nil {
			t.Errorf("%s: a foreign key was accepted", algorithm)
		}
		for other, pair := range signers {
			if other != algorithm {
				if _, err := verified(keys, sign(other, pair[0], nil)); err == nil {
					t.Errorf("%s: %s was accepted", algorithm, other)
				}
			}
		}
		// RFC 8725 section 2.1: a public key as the secret of an HMAC.
		if algorithm != "HS256" {
			if _, err := verified(keys, sign("HS256", publicPEM(pair[0]), nil)); err == nil {
				t.Errorf("%s: its public key was accepted as a secret", algorithm)
			}
		}
		if _, err := verified(keys, sign("none", jwt.UnsafeAllowNoneSignatureType, nil)); err == nil {
			t.Errorf("%s: an unsigned token was accepted", algorithm)
		}
		for _, other := range []string{"HS384", "HS512"} {
			if _, err := verified(keys, sign(other, signers["HS256"][0], nil)); err == nil {
				t.Errorf("%s: %s was accepted", algorithm, other)
			}
		}
		for _, other := range []string{"RS512", "PS256"} {
			if _, err := verified(keys, sign(other, signers["RS256"][0], nil)); err == nil {
				t.Errorf("%s: %s was accepted", algorithm, other)
			}
		}
	}
	keys := keysFor(t, "all")
	for _, algorithm := range []string{"RS256", "ES256", "EdDSA"} {
		if _, err := verified(keys, sign(algorithm, signers[algorithm][0], nil)); err != nil {
			t.Errorf("%s of several keys: %v", algorithm, err)
		}
	}
}

// TestClaims: an error names the claim, its type, and what is wanted.
func TestClaims(t *testing.T) {
	set := func(claim string, v any) func(_, claims map[string]any) {
		return func(_, claims map[string]any) {
			if v == nil {
				delete(claims, claim)
				return
			}
			claims[claim] = v
		}
	}
	now := time.Now().Unix()
	for _, tt := range []struct {
		name   string
		change func(header, claims map[string]any)
		issuer string
		want   string // a part of the rejection; empty: accepted
	}{
		{"valid", nil, "", ""},
		{"no exp", set("exp", nil), "", "lacks the claim exp"},
		{"expired", set("exp", now-60), "", "has expired (claim exp)"},
		{"expired a moment ago", set("exp", now-2), "", ""},
		{"exp is a string", set("exp", "tomorrow"), "", "the token's claim exp is a string: want a number, the seconds since 1970"},
		{"exp is a digit string", set("exp", "9999999999"), "", "claim exp is a string"},
		{"exp far in the future", set("exp", 1e15), "", ""},
		{"exp overflows 64 bits", set("exp", 1e19), "", "claim exp is out of range"},
		{"exp far in the past", set("exp", -1e19), "", "claim exp is out of range"},
		{"exp with a fraction", set("exp", float64(now)+60.5), "", ""},
		{"nbf overflows", set("nbf", 1e300), "", "claim nbf is out of range"},
		{"nbf is a list", set("nbf", []int{1}), "", "claim nbf is a list: want a number"},
		{"iat is a boolean", set("iat", true), "", "claim iat is a boolean: want a number"},
		{"not valid yet", set("nbf", now+60), "", "not valid yet (claim nbf)"},
		{"valid in a moment", set("nbf", now+2), "", ""},
		{"no sub", set("sub", nil), "", "lacks the claim sub"},
		{"empty sub", set("sub", ""), "", "the token's claim sub is empty: want the name of the user"},
		{"sub is a number", set("sub", 42), "", "the token's claim sub is a number: want a string"},
		{"sub is an object", set("sub", map[string]any{"id": 1}), "", "claim sub is an object: want a string"},
		{"topics is a string", set("topics", "news"), "", "claim topics is a string: want a list of strings"},
		{"topics has a number", set("topics", []any{"news", 7}), "", "claim topics has an element that is a number: want a list of strings"},
		{"aud is a number", set("aud", 7), "", "claim aud is a number: want a string or a list of strings"},
		{"critical extension", func(h, _ map[string]any) { h["crit"] = []string{"x"}; h["x"] = 1 }, "", "extension"},
		{"issuer that is not asked for", set("iss", "any"), "", ""},
		{"issuer", set("iss", "us"), "us", ""},
		{"other issuer", set("iss", "them"), "us", "another issuer (claim iss)"},
		{"no issuer", nil, "us", "lacks the claim iss"},
		{"issuer is a number", set("iss", 7), "us", "claim iss is a number: want a string"},
		{"issuer is empty", set("iss", ""), "us", "claim iss is empty"},
		{"no algorithm", func(h, _ map[string]any) { delete(h, "alg") }, "", "the token's header lacks alg"},
		{"algorithm is a number", func(h, _ map[string]any) { h["alg"] = 7 }, "", "the token's header lacks alg"},
		{"unknown algorithm", func(h, _ map[string]any) { h["alg"] = "XX" }, "", "no key for the token's algorithm"},
		{"issuer in another case", set("ISS", "us"), "us", "lacks the claim iss"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			keys := keysFor(t, "HS256")
			keys.Issuer = tt.issuer
			token := sign("HS256", signers["HS256"][0], tt.change)
			_, err := verified(keys, token)
			checkRejection(t, err, 401, tt.want)
			if err != nil && strings.Contains(err.Error(), strings.Split(token, ".")[1]) {
				t.Error("the answer contains the token")
			}
		})
	}
	keys := keysFor(t, "HS256")
	keys.Audience = "push"
	for _, tt := range []struct {
		audience any
		want     string
	}{{"push", ""}, {[]string{"x", "push"}, ""}, {"x", "another audience (claim aud)"}, {nil, "lacks the claim aud"}, {"", "claim aud is empty"}, {[]string{}, "claim aud is empty"}, {[]any{"push", 7}, "claim aud has an element that is a number"}} {
		_, err := verified(keys, sign("HS256", signers["HS256"][0], set("aud", tt.audience)))
		checkRejection(t, err, 401, tt.want)
	}
}

// TestClaimNames: claims match exactly, have no duplicates and are UTF-8. An issuer may
// let users choose claims of other names.
func TestClaimNames(t *testing.T) {
	const later, valid = `"exp":9999999999`, "valid"
	keys := keysFor(t, "HS256")
	for _, tt := range []struct {
		name, header, claims string
		want                 string // a part of the rejection, or "valid"
	}{
		{"case of sub", "", `{"sub":"alice","SUB":"bob",` + later + `}`, valid},
		{"case of sub, first", "", `{"SUB":"bob","Sub":"eve","sub":"alice",` + later + `}`, valid},
		{"sub with U+017F", "", `{"sub":"alice","ſub":"bob",` + later + `}`, valid},
		{"only SUB", "", `{"SUB":"bob",` + later + `}`, "lacks the claim sub"},
		{"case of exp", "", `{"sub":"alice","exp":1,"EXP":9999999999}`, "has expired"},
		{"only Exp", "", `{"sub":"alice","Exp":9999999999}`, "lacks the claim exp"},
		{"case of nbf", "", `{"sub":"alice",` + later + `,"nbf":9999999998,"NBF":1}`, "not valid yet"},
		{"type of another case", "", `{"sub":"alice","SUB":7,"Topics":7,` + later + `}`, valid},
		{"sub twice", "", `{"sub":"alice","sub":"bob",` + later + `}`, "its claims set has sub more than once"},
		{"sub twice, equal", "", `{"sub":"alice","sub":"alice",` + later + `}`, "its claims set has sub more than once"},
		{"sub twice, escaped", "", `{"sub":"alice","s\u0075b":"bob",` + later + `}`, "its claims set has sub more than once"},
		{"exp twice", "", `{"sub":"alice","exp":1,` + later + `}`, "its claims set has exp more than once"},
		{"topics twice", "", `{"sub":"alice","topics":["a"],"topics":["*"],` + later + `}`, "its claims set has topics more than once"},
		{"unknown claim twice", "", `{"sub":"alice","x":1,"x":2,` + later + `}`, "its claims set has a name more than once"},
		{"exp overflows a float", "", `{"sub":"alice","exp":1e400}`, "claim exp is out of range"},
		{"user is not UTF-8", "", "{\"sub\":\"al\xffice\"," + later + "}", "not valid UTF-8"},
		{"unknown claim is not UTF-8", "", "{\"sub\":\"alice\",\"x\":\"\xc3\"," + later + "}", "not valid UTF-8"},
		{"half a surrogate pair", "", `{"sub":"al\ud800ice",` + later + `}`, "its claims set has half of a surrogate pair"},
		{"half a surrogate pair in a name", "", `{"sub":"alice","\udc00":1,` + later + `}`, "its claims set has half of a surrogate pair"},
		{"name twice in an object", "", `{"sub":"alice","x":{"sub":1,"sub":2},` + later + `}`, "its claims set has an object inside that has a name more than once"},
		{"name twice in an object of a list", "", `{"sub":"alice","x":[{"a":1,"a":2}],` + later + `}`, "its claims set has an object inside"},
		{"bytes after the claims", "", `{"sub":"alice",` + later + `}x`, "its claims set has bytes after its JSON object"},
		{"a second object", "", `{"sub":"alice",` + later + `} {}`, "its claims set has bytes after its JSON object"},
		{"space after the claims", "", `{"sub":"alice",` + later + "} \r\n\t", valid},
		{"half an object", "", `{"sub":"alice"`, "its claims set is malformed JSON"},
		{"nothing", "", ``, "its claims set is not a JSON object"},
		{"sub is null", "", `{"sub":null,` + later + `}`, "the token's claim sub is null: want a string, or no such claim"},
		{"exp is null", "", `{"sub":"alice","exp":null}`, "claim exp is null: want a number"},
		{"nbf is null", "", `{"sub":"alice","nbf":null,` + later + `}`, "claim nbf is null: want a number"},
		{"aud is null", "", `{"sub":"alice","aud":null,` + later + `}`, "claim aud is null"},
		{"topics is null", "", `{"sub":"alice","topics":null,` + later + `}`, "claim topics is null"},
		{"topics has a null", "", `{"sub":"alice","topics":["a",null],` + later + `}`, "claim topics has an element that is null: want a list of strings"},
		{"unknown claim is null", "", `{"sub":"alice","x":null,"y":{"sub":null},` + later + `}`, valid},
		{"text null in a claim", "", `{"sub":"alice","x":"null",` + later + `}`, valid},
		{"name is not UTF-8", "", "{\"sub\":\"alice\",\"\xff\":1," + later + "}", "not valid UTF-8"},
		{"list", "", `["sub","alice"]`, "not a JSON object"},
		{"null", "", `null`, "not a JSON object"},
		{"text", "", `alice`, "malformed"},
		{"algorithm twice", `{"alg":"none","alg":"HS256"}`, `{"sub":"alice",` + later + `}`, "its header has alg more than once"},
		{"bytes after the header", `{"alg":"HS256"}x`, `{"sub":"alice",` + later + `}`, "its header has bytes after its JSON object"},
		{"header is a list", `["HS256"]`, `{"sub":"alice",` + later + `}`, "its header is not a JSON object"},
		{"header is not UTF-8", "{\"alg\":\"HS256\",\"kid\":\"\xff\"}", `{"sub":"alice",` + later + `}`, "its header is not valid UTF-8"},
		{"extension in another case", `{"alg":"HS256","Crit":["x"]}`, `{"sub":"alice",` + later + `}`, valid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			header := tt.header
			if header == "" {
				header = `{"alg":"HS256"}`
			}
			id, err := verified(keys, signRaw(header, tt.claims))
			if tt.want != valid {
				checkRejection(t, err, 401, tt.want)
			} else if err != nil || id.User != "alice" || len(id.Topics) > 0 || len(id.MaySubscribe) > 0 {
				t.Errorf("got %+v, %v", id, err)
			}
		})
	}
	id, err := verified(keys, signRaw(`{"alg":"HS256"}`, `{"sub":"alice","topics":["news"],"Topics":["*"],`+later+`}`))
	if err != nil || !slices.Equal(id.MaySubscribe, []string{"news"}) {
		t.Errorf("a token may subscribe to %q, %v", id.MaySubscribe, err)
	}
}

// TestLeeway: clocks may differ by Keys.Leeway.
func TestLeeway(t *testing.T) {
	for _, tt := range []struct {
		leeway   time.Duration
		claim    string
		seconds  int64 // from now
		accepted bool
	}{
		{DefaultLeeway, "nbf", 2, true}, {DefaultLeeway, "nbf", 60, false},
		{0, "nbf", 2, false}, {0, "exp", -2, false},
		{2 * time.Minute, "nbf", 60, true}, {2 * time.Minute, "exp", -60, true}, {2 * time.Minute, "exp", -180, false},
	} {
		keys := keysFor(t, "HS256")
		if keys.Leeway != DefaultLeeway {
			t.Fatalf("the default is %v", keys.Leeway)
		}
		keys.Leeway = tt.leeway
		_, err := verified(keys, sign("HS256", signers["HS256"][0], func(_, c map[string]any) { c[tt.claim] = time.Now().Unix() + tt.seconds }))
		if (err == nil) != tt.accepted {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

// TestSpelling: the bits after the last byte of a signature must be zero, so that a
// token has one spelling (RFC 4648 section 3.5).
func TestSpelling(t *testing.T) {
	token := sign("HS256", signers["HS256"][0], nil)
	// 32 bytes are 43 characters, and the last one has 2 bits too many.
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	_, err := verified(keysFor(t, "HS256"), token[:len(token)-1]+alphabet[last+1:last+2])
	checkRejection(t, err, 401, "malformed")
}

// TestStructure: each fault in the outer form of a token has its own words.
func TestStructure(t *testing.T) {
	good := sign("HS256", signers["HS256"][0], nil)
	parts := strings.Split(good, ".")
	for _, tt := range []struct{ name, token, want string }{
		{"one part", "x", "want three parts separated by dots (RFC 7515), not 1"},
		{"two parts", parts[0] + "." + parts[1], "not 2"},
		{"encrypted", good + "..", "encrypted tokens (JWE)"},
		{"header is not base64", "$." + parts[1] + "." + parts[2], "its header is not base64url"},
		{"claims of standard base64", parts[0] + ".ab+/." + parts[2], "its claims set is not base64url"},
		{"padded signature", good + "=", "its signature is padded with =: want base64url without padding"},
		{"no signature", parts[0] + "." + parts[1] + ".", "signature was not made with a key of the server"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := verified(keysFor(t, "HS256"), tt.token)
			checkRejection(t, err, 401, tt.want)
		})
	}
}

func TestTopics(t *testing.T) {
	tests := []struct {
		name  string
		claim []string
		asked string   // separated by spaces
		want  []string // nil: rejected
	}{
		{"none", nil, "", []string{}},
		{"all of the claim", []string{"a", "b"}, "", []string{"a", "b"}},
		{"patterns are not subscribed to", []string{"a", "b.*"}, "", []string{"a"}},
		{"one of the claim", []string{"a", "b"}, "b", []string{"b"}},
		{"by pattern", []string{"chat.*"}, "chat.7 chat.", []string{"chat.7", "chat."}},
		{"any", []string{"*"}, "x", []string{"x"}},
		{"no claim", nil, "a", nil},
		{"empty claim", []string{}, "a", nil},
		{"another", []string{"a"}, "b", nil},
		{"one of two", []string{"a"}, "a b", nil},
		{"beginning of a name", []string{"chat.7"}, "chat", nil},
		{"more than a name", []string{"chat"}, "chat.7", nil},
		{"beside a pattern", []string{"chat.*"}, "chat", nil},
		{"star in the middle is a character", []string{"a*b"}, "aXb", nil},
	}
	v := newVerifier(keysFor(t, "EdDSA"))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			token := sign("EdDSA", signers["EdDSA"][0], func(_, claims map[string]any) {
				if tt.claim != nil {
					claims["topics"] = tt.claim
				}
			})
			id, err := v.verify(token, strings.Fields(tt.asked))
			if tt.want == nil {
				checkRejection(t, err, 403, "topic")
			} else if err != nil || !slices.Equal(id.Topics, tt.want) {
				t.Errorf("got %q, %v, want %q", id.Topics, err, tt.want)
			}
		})
	}
}
