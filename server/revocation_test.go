package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fanfare/server/internal/handshake"
	"fanfare/server/revoke"
)

// revoking returns a list in memory.
func revoking(t *testing.T) *revoke.List {
	t.Helper()
	l, err := revoke.New(t.Context(), revoke.Config{Age: time.Hour, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// byToken is an endpoint whose query names the identity: a token without jti and iat is that
// of a connect hook.
func byToken() Endpoint {
	return Endpoint{Path: "/ws", NonBlocking: true, Dialects: []Dialect{Plain(), V1()}, Identifier: func(_ context.Context, r *Request) (Identity, error) {
		id := Identity{User: r.Query("user"), TokenID: r.Query("jti")}
		if iat := r.Query("iat"); iat != "" {
			var seconds int64
			fmt.Sscan(iat, &seconds)
			id.Issued = time.Unix(seconds, 0)
		}
		return id, nil
	}}
}

// TestRevoke: a revocation closes the sessions that it concerns, with a code that says
// whether a new token helps, and rejects their handshakes; all other sessions stay.
func TestRevoke(t *testing.T) {
	now := time.Now().Unix()
	for _, tt := range []struct {
		name  string
		entry revoke.Entry
		hit   []string // queries of sessions that are closed
		code  Code
		spare []string
		again string // a query that is accepted afterwards
	}{
		{"user", revoke.Entry{User: "a"}, []string{"user=a", "user=a&jti=1", fmt.Sprint("user=a&iat=", now+50)}, StatusPolicyViolation, []string{"user=b"}, "user=b"},
		{"user, issued before", revoke.Entry{User: "a", Before: float64(now - 10)}, []string{fmt.Sprint("user=a&iat=", now-11), "user=a&iat=0"}, StatusUnauthorized,
			[]string{fmt.Sprint("user=a&iat=", now-10), "user=a&jti=1", "user=b&iat=5"}, fmt.Sprint("user=a&iat=", now-10)},
		{"user, session begun before", revoke.Entry{User: "a", Before: float64(now + 50)}, []string{"user=a"}, StatusUnauthorized, []string{"user=b"}, "user=b"},
		{"token", revoke.Entry{Token: "1"}, []string{"user=a&jti=1", "user=b&jti=1"}, StatusUnauthorized, []string{"user=a&jti=2", "user=a"}, "user=a&jti=2"},
		{"all, issued before", revoke.Entry{All: true, Before: float64(now - 10)}, []string{"user=a&iat=5", "user=b&iat=5"}, StatusUnauthorized, []string{"user=a"}, "user=a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list := revoking(t)
			srv := start(t, Config{Endpoints: []Endpoint{byToken()}, Revocations: list})
			var hit, spared []*client
			for _, q := range tt.hit {
				hit = append(hit, dial(t, srv, "/ws?"+q))
			}
			for _, q := range tt.spare {
				spared = append(spared, dial(t, srv, "/ws?"+q))
			}
			await(t, "sessions", func() bool { return srv.Count() == len(hit)+len(spared) })
			r, err := srv.Revoke(t.Context(), tt.entry)
			if err != nil || r.Receivers != len(hit) || r.Stored || !r.Complete() || r.ID == "" {
				t.Fatalf("%+v, %v", r, err)
			}
			for i, c := range hit {
				c.wantClose(tt.code)
				c = connect(t, srv)
				c.say(handshakeFor("/ws?" + tt.hit[i]))
				resp := c.answer()
				body, _ := io.ReadAll(resp.Body)
				if resp.StatusCode != 401 || !strings.Contains(string(body), "is revoked") || resp.Header.Get("WWW-Authenticate") == "" {
					t.Errorf("%s: %d %s", tt.hit[i], resp.StatusCode, body)
				}
			}
			dial(t, srv, "/ws?"+tt.again)
			for _, c := range spared {
				c.send(0x9, "still there")
				c.want(0xa, "still there")
			}
			if list.Closed.Load() != int64(len(hit)) || list.Rejected.Load() != int64(len(hit)) {
				t.Errorf("%d closes and %d rejections are counted", list.Closed.Load(), list.Rejected.Load())
			}
			if _, err := srv.Unrevoke(t.Context(), r.ID); err != nil {
				t.Fatal(err)
			}
			dial(t, srv, "/ws?"+tt.hit[0])
		})
	}
}

// revokingDialect revokes while a handshake is decided.
type revokingDialect struct {
	Dialect
	resume, begin func()
}

func (d *revokingDialect) Resume(r *Request, user string, topics []string) (map[string]Position, error) {
	d.resume()
	return d.Dialect.Resume(r, user, topics)
}

func (d *revokingDialect) Begin(*Session, Position) { d.begin() }

// TestRevokeDuringHandshake: a session that is identified before a revocation and opened
// afterwards is closed, wherever the revocation falls.
func TestRevokeDuringHandshake(t *testing.T) {
	for _, when := range []string{"identified", "admitted", "registered", "open"} {
		t.Run(when, func(t *testing.T) {
			var running atomic.Pointer[Server]
			at := func(point string) {
				if point == when {
					if r, err := running.Load().Revoke(t.Context(), revoke.Entry{User: "a"}); err != nil {
						t.Errorf("%+v, %v", r, err)
					}
				}
			}
			ep := byToken()
			identify := ep.Identifier
			ep.Identifier = func(ctx context.Context, r *Request) (Identity, error) {
				defer at("identified")
				return identify(ctx, r)
			}
			ep.Dialects = []Dialect{&revokingDialect{Plain(), func() { at("admitted") }, func() { at("registered") }}}
			ep.Hooks.OnOpen = func(*Session) { at("open") }
			srv := start(t, Config{Endpoints: []Endpoint{ep}, Revocations: revoking(t)})
			running.Store(srv)
			c := connect(t, srv)
			c.say(handshakeFor("/ws?user=a&jti=1"))
			resp := c.answer()
			if when == "identified" {
				if resp.StatusCode != 401 {
					t.Errorf("status %d", resp.StatusCode)
				}
				return
			}
			if resp.StatusCode != 101 {
				t.Fatalf("status %d", resp.StatusCode)
			}
			c.wantClose(StatusPolicyViolation)
		})
	}
}

// TestRevokeRefresh: a revoked token refreshes nothing, and a session has what its latest
// token has.
func TestRevokeRefresh(t *testing.T) {
	next := make(chan Identity, 1)
	srv := start(t, Config{Endpoints: []Endpoint{refreshing(Identity{User: "alice", TokenID: "1"}, next)}, Revocations: revoking(t)})
	for _, id := range []string{"2", "3"} {
		if _, err := srv.Revoke(t.Context(), revoke.Entry{Token: id}); err != nil {
			t.Fatal(err)
		}
	}
	c := dial(t, srv, "/a", v1Header)
	c.want(Text, `{"type":"hello","user":"alice"}`)
	s := only(t, srv, "alice")
	if _, err := s.Refresh(Identity{User: "alice", TokenID: "2"}); !errors.Is(err, error(handshake.ErrRevoked)) {
		t.Errorf("the error is %v", err)
	}
	next <- Identity{User: "alice", TokenID: "3"}
	c.send(Text, `{"type":"refresh","token":"good"}`)
	c.want(Text, `{"type":"error","code":"refresh_failed","message":"the token is revoked: get a new one"}`)
	if _, err := s.Refresh(Identity{User: "alice", TokenID: "4"}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		token  string
		closed int
	}{{"1", 0}, {"4", 1}} {
		if r, err := srv.Revoke(t.Context(), revoke.Entry{Token: tt.token}); err != nil || r.Receivers != tt.closed {
			t.Errorf("token %s: %+v, %v", tt.token, r, err)
		}
	}
	c.wantClose(StatusUnauthorized)
}

// TestRevokeOnNodes: all nodes apply a revocation, and a node that does not confirm is named.
func TestRevokeOnNodes(t *testing.T) {
	clusters := newFakeClusters(3)
	lists := []*revoke.List{revoking(t), revoking(t), nil}
	var nodes []*Server
	for i, c := range clusters {
		nodes = append(nodes, start(t, Config{Endpoints: []Endpoint{byToken()}, Cluster: c, Revocations: lists[i]}))
	}
	there := dial(t, nodes[1], "/ws?user=a")
	await(t, "session", func() bool { return nodes[1].Count() == 1 })
	r, err := nodes[0].Revoke(t.Context(), revoke.Entry{User: "a"})
	if err != nil || r.Receivers != 1 || r.Missing != 1 || len(r.MissingNodes) != 1 || r.MissingNodes[0] != "node/2" {
		t.Errorf("%+v, %v", r, err)
	}
	there.wantClose(StatusPolicyViolation)
	if got := lists[1].Check("a", "", time.Now()); got != revoke.Blocked {
		t.Errorf("the other node says %d", got)
	}
	if c, err := nodes[1].Unrevoke(t.Context(), r.ID); err != nil || c.Missing != 1 {
		t.Errorf("%+v, %v", c, err)
	}
	if got := lists[0].Check("a", "", time.Now()); got != revoke.Valid {
		t.Errorf("removed, and the other node says %d", got)
	}
	for _, payload := range []string{"", `{"user":"a"}`, `{"all":true}`} {
		if r := (member{nodes[0]}).Serve(&Command{Verb: VerbRevoke, Op: Text, Payload: []byte(payload)}); r.Error == "" {
			t.Errorf("%q of another node is accepted", payload)
		}
	}
	if _, err := nodes[2].Revoke(t.Context(), revoke.Entry{User: "a"}); !errors.Is(err, ErrNoRevocations) {
		t.Errorf("without a list: %v", err)
	}
	if _, err := nodes[0].Revoke(t.Context(), revoke.Entry{User: "\n"}); !errors.Is(err, revoke.ErrInvalid) {
		t.Errorf("a bad name: %v", err)
	}
}

// TestHandOverRevocations: what a revocation may name moves with a session, and a session that
// was revoked while it moved is closed.
func TestHandOverRevocations(t *testing.T) {
	linuxOnly(t)
	cfg := Config{Endpoints: []Endpoint{byToken()}, Revocations: revoking(t)}
	from := start(t, cfg)
	by, issued, moved := dial(t, from, "/ws?user=a&jti=1"), dial(t, from, "/ws?user=b&iat=5"), dial(t, from, "/ws?user=c&jti=3")
	await(t, "sessions", func() bool { return from.Count() == 3 })
	cfg.Revocations = revoking(t)
	if _, err := cfg.Revocations.Add(t.Context(), revoke.Entry{Token: "3"}); err != nil {
		t.Fatal(err)
	}
	to := successor(t, from, cfg)
	moved.wantClose(StatusUnauthorized)
	for _, e := range []revoke.Entry{{Token: "1"}, {User: "b", Before: 6}} {
		if r, err := to.Revoke(t.Context(), e); err != nil || r.Receivers != 1 {
			t.Errorf("%+v: %+v, %v", e, r, err)
		}
	}
	by.wantClose(StatusUnauthorized)
	issued.wantClose(StatusUnauthorized)
}

// awayStore is a store of revocations that does not answer.
type awayStore struct{ revoke.Store }

func (awayStore) Load(context.Context, revoke.Version) ([]revoke.Entry, revoke.Version, error) {
	return nil, revoke.Version{}, errors.New("away")
}

// TestRevocationsNotLoaded: no client connects before the revocations are loaded.
func TestRevocationsNotLoaded(t *testing.T) {
	list, err := revoke.New(t.Context(), revoke.Config{Age: time.Hour, Store: awayStore{}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer list.Close()
	srv := start(t, Config{Endpoints: []Endpoint{byToken()}, Revocations: list})
	c := connect(t, srv)
	c.say(handshakeFor("/ws?user=a"))
	if resp := c.answer(); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, %v", resp.StatusCode, resp.Header)
	}
}

// TestRevocationsCost: an idle session keeps nothing while revocations are off, or if its
// identity was not made before it.
func TestRevocationsCost(t *testing.T) {
	for _, tt := range []struct {
		list  *revoke.List
		query string
		keeps bool
	}{{nil, "user=a&jti=1&iat=5", false}, {revoking(t), "user=a", false}, {revoking(t), "user=a&jti=1", true}} {
		srv := start(t, Config{Endpoints: []Endpoint{byToken()}, Revocations: tt.list})
		dial(t, srv, "/ws?"+tt.query)
		if s := only(t, srv, "a"); (s.ext.Load() != nil) != tt.keeps {
			t.Errorf("%s, revocations %t: an extension %t, want %t", tt.query, tt.list != nil, !tt.keeps, tt.keeps)
		}
	}
}
