package auth

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/golang-jwt/jwt/v5"

	"fanfare/frame"
)

func TestAuthAlgorithms(t *testing.T) {
	for algorithm, pair := range signers {
		ep := Authenticated("/ws", keysFor(t, algorithm))
		if id, err := identified(ep, "", "Bearer "+sign(algorithm, pair[0], nil)); err != nil || id.User != "alice" {
			t.Errorf("%s: %v, %v", algorithm, id, err)
		}
		if _, err := identified(ep, "", "Bearer "+sign(algorithm, pair[1], nil)); err == nil {
			t.Errorf("%s: a foreign key was good", algorithm)
		}
		for other, pair := range signers {
			if other != algorithm {
				if _, err := identified(ep, "", "Bearer "+sign(other, pair[0], nil)); err == nil {
					t.Errorf("%s: %s was good", algorithm, other)
				}
			}
		}
		// The classic: a public key, which everybody has, as the secret of an HMAC.
		if algorithm != "HS256" {
			if _, err := identified(ep, "", "Bearer "+sign("HS256", publicPEM(pair[0]), nil)); err == nil {
				t.Errorf("%s: its public key was good as a secret", algorithm)
			}
		}
		if _, err := identified(ep, "", "Bearer "+sign("none", jwt.UnsafeAllowNoneSignatureType, nil)); err == nil {
			t.Errorf("%s: an unsigned token was good", algorithm)
		}
		for _, other := range []string{"HS384", "HS512"} {
			if _, err := identified(ep, "", "Bearer "+sign(other, signers["HS256"][0], nil)); err == nil {
				t.Errorf("%s: %s was good", algorithm, other)
			}
		}
		for _, other := range []string{"RS512", "PS256"} {
			if _, err := identified(ep, "", "Bearer "+sign(other, signers["RS256"][0], nil)); err == nil {
				t.Errorf("%s: %s was good", algorithm, other)
			}
		}
	}
	ep := Authenticated("/ws", keysFor(t, "all"))
	for _, algorithm := range []string{"RS256", "ES256", "EdDSA"} {
		if _, err := identified(ep, "", "Bearer "+sign(algorithm, signers[algorithm][0], nil)); err != nil {
			t.Errorf("%s of several keys: %v", algorithm, err)
		}
	}
}

func TestAuthClaims(t *testing.T) {
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
	tests := []struct {
		name   string
		change func(header, claims map[string]any)
		issuer string
		want   string // a part of the refusal; empty: good
	}{
		{"good", nil, "", ""},
		{"no exp", set("exp", nil), "", "lacks a claim"},
		{"expired", set("exp", now-60), "", "has expired"},
		{"expired a moment ago", set("exp", now-2), "", ""},
		{"exp that is no number", set("exp", "tomorrow"), "", "malformed"},
		{"exp far away", set("exp", 1e15), "", ""},
		{"not valid yet", set("nbf", now+60), "", "not valid yet"},
		{"valid in a moment", set("nbf", now+2), "", ""},
		{"no sub", set("sub", nil), "", "no sub"},
		{"empty sub", set("sub", ""), "", "no sub"},
		{"sub that is no string", set("sub", 7), "", "malformed"},
		{"topics that are no list", set("topics", "news"), "", "malformed"},
		{"critical extension", func(h, _ map[string]any) { h["crit"] = []string{"x"}; h["x"] = 1 }, "", "extension"},
		{"issuer not asked for", set("iss", "whoever"), "", ""},
		{"issuer", set("iss", "us"), "us", ""},
		{"other issuer", set("iss", "them"), "us", "another issuer"},
		{"no issuer", nil, "us", "lacks a claim"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			keys := keysFor(t, "HS256")
			keys.Issuer = tt.issuer
			token := sign("HS256", signers["HS256"][0], tt.change)
			_, err := identified(Authenticated("/ws", keys), "", "Bearer "+token)
			checkRefusal(t, err, 401, tt.want)
			if err != nil && strings.Contains(err.Error(), strings.Split(token, ".")[1]) {
				t.Error("the answer has the token")
			}
		})
	}
	keys := keysFor(t, "HS256")
	keys.Audience = "push"
	ep := Authenticated("/ws", keys)
	for _, tt := range []struct {
		audience any
		want     string
	}{{"push", ""}, {[]string{"x", "push"}, ""}, {"x", "another audience"}, {nil, "lacks a claim"}} {
		_, err := identified(ep, "", "Bearer "+sign("HS256", signers["HS256"][0], set("aud", tt.audience)))
		checkRefusal(t, err, 401, tt.want)
	}
}

// TestAuthSpelling: the bits behind the last byte of a signature must be zero, so
// that a token has one spelling (RFC 4648, 3.5).
func TestAuthSpelling(t *testing.T) {
	ep := Authenticated("/ws", keysFor(t, "HS256"))
	token := sign("HS256", signers["HS256"][0], nil)
	// 32 bytes are 43 characters, and the last one has 2 bits too many.
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	_, err := identified(ep, "", "Bearer "+token[:len(token)-1]+alphabet[last+1:last+2])
	checkRefusal(t, err, 401, "malformed")
}

func TestAuthTopics(t *testing.T) {
	tests := []struct {
		name  string
		claim []string
		asked string
		want  []string // nil: refused
	}{
		{"none", nil, "", []string{}},
		{"all of the claim", []string{"a", "b"}, "", []string{"a", "b"}},
		{"patterns are not followed", []string{"a", "b.*"}, "", []string{"a"}},
		{"one of the claim", []string{"a", "b"}, "topic=b", []string{"b"}},
		{"by pattern", []string{"chat.*"}, "topic=chat.7&topic=chat.", []string{"chat.7", "chat."}},
		{"any", []string{"*"}, "topic=x", []string{"x"}},
		{"no claim", nil, "topic=a", nil},
		{"empty claim", []string{}, "topic=a", nil},
		{"another", []string{"a"}, "topic=b", nil},
		{"one of two", []string{"a"}, "topic=a&topic=b", nil},
		{"beginning of a name", []string{"chat.7"}, "topic=chat", nil},
		{"more than a name", []string{"chat"}, "topic=chat.7", nil},
		{"beside a pattern", []string{"chat.*"}, "topic=chat", nil},
		{"star in the middle is a character", []string{"a*b"}, "topic=aXb", nil},
	}
	ep := Authenticated("/ws", keysFor(t, "EdDSA"))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			token := sign("EdDSA", signers["EdDSA"][0], func(_, claims map[string]any) {
				if tt.claim != nil {
					claims["topics"] = tt.claim
				}
			})
			id, err := identified(ep, tt.asked, "Bearer "+token)
			if tt.want == nil {
				checkRefusal(t, err, 403, "topic")
			} else if err != nil || !slices.Equal(id.Topics, tt.want) {
				t.Errorf("got %q, %v, want %q", id.Topics, err, tt.want)
			}
		})
	}
}

// TestAuthHandshake is the whole way, over sockets.
func TestAuthHandshake(t *testing.T) {
	s := newAPIServer(t, Config{Endpoints: []Endpoint{Authenticated("/ws", keysFor(t, "ES256"))}}, nil)
	key := signers["ES256"][0]
	good := sign("ES256", key, func(_, claims map[string]any) { claims["topics"] = []string{"news"} })
	half := good[:len(good)/2]
	tests := []struct {
		name, query, field string
		status             int
		text               string
	}{
		{"field", "", "Bearer " + good, 101, ""},
		{"query", "?token=" + good, "", 101, ""},
		{"field before query", "?token=" + half, "Bearer " + good, 101, ""},
		{"bad field before good query", "?token=" + good, "Bearer " + half, 401, "malformed"},
		{"other scheme, good query", "?token=" + good, "Basic eDp5", 101, ""},
		{"none", "", "", 401, "no token"},
		{"user by query", "?user=mallory", "", 401, "no token"},
		{"half a token", "", "Bearer " + half, 401, "malformed"},
		{"no token at all", "", "Bearer x", 401, "malformed"},
		{"padded", "", "Bearer " + good + "=", 401, "malformed"},
		{"other topic", "?topic=other&token=" + good, "", 403, "topic"},
		{"bad name", "?token=" + sign("ES256", key, func(_, c map[string]any) { c["sub"] = "a\x00" }), "", 400, "user"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := net.Dial("tcp", s.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(patience))
			field := ""
			if tt.field != "" {
				field = "Authorization: " + tt.field + "\r\n"
			}
			fmt.Fprintf(c, "GET /ws%s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", tt.query, field)
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
	c := s.connect("/ws?token=" + url.QueryEscape(good))
	if got := s.call("POST", "/v1/topics/news/push", "x"); got.body == `{"receivers":0}`+"\n" {
		t.Errorf("got %v", got)
	}
	c.expect(Binary, "x")
}

// TestAuthExpiry: the token has expired already, by less than clocks may differ.
func TestAuthExpiry(t *testing.T) {
	for _, closes := range []bool{false, true} {
		keys := keysFor(t, "HS256")
		keys.CloseExpired = closes
		s := newAPIServer(t, Config{PingInterval: tick, Endpoints: []Endpoint{Authenticated("/ws", keys)}}, nil)
		c := s.connect("/ws?token=" + sign("HS256", signers["HS256"][0], func(_, claims map[string]any) {
			claims["exp"] = time.Now().Add(-time.Second).Unix()
		}))
		if closes {
			c.expectClose(frame.StatusUnauthorized, "the identity has expired")
		} else if op, _ := c.control(); op != ws.OpPing {
			t.Errorf("got %v, want a ping", op)
		}
		c.Close()
	}
}

func TestTickAt(t *testing.T) {
	srv := &Server{started: time.Now()}
	for name, tt := range map[string]struct {
		at   time.Time
		want uint32
	}{
		"none":           {time.Time{}, 0},
		"past":           {srv.started.Add(-time.Hour), 1},
		"now":            {srv.started, 1},
		"a minute":       {srv.started.Add(time.Minute), 600},
		"twelve years":   {srv.started.Add(12 * 365 * 24 * time.Hour), 12 * 365 * 24 * 36000},
		"fourteen years": {srv.started.Add(14 * 365 * 24 * time.Hour), 0},
	} {
		if got := srv.tickAt(tt.at); got != tt.want {
			t.Errorf("%s: got %d, want %d", name, got, tt.want)
		}
	}
}
