package api

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"fanfare/server"
	"fanfare/server/revoke"
)

func newList(t *testing.T, cfg revoke.Config) *revoke.List {
	t.Helper()
	cfg.Age = time.Hour
	l, err := revoke.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestRevocations(t *testing.T) {
	list := newList(t, revoke.Config{Entries: 2})
	s := newAPIServer(t, server.Config{Revocations: list}, Config{Measured: []Measured{list}}, nil)
	s.connect("/ws?user=alice")
	id := ""
	for _, tt := range []struct {
		method, target, body string
		status               int
		want                 string // a regular expression; the first group is an id
	}{
		{"GET", "/v1/revocations", "", 200, `^{"revocations":\[\],"stored":false}\n$`},
		{"POST", "/v1/revocations", `{"user":"alice"}`, 200, `^{"revocation":{"id":"([0-9a-f]{32})","user":"alice","created":\d+,"expires":\d+},"stored":false,"closed":1}\n$`},
		{"POST", "/v1/revocations", `{"token":"t"}`, 200, `"closed":0}`},
		{"POST", "/v1/revocations", `{"token":"t2"}`, 507, `"revocations_full".*there are 2`},
		{"POST", "/v1/revocations", `{"token":"t"}`, 200, `"token":"t"`},
		{"POST", "/v1/revocations", ``, 400, `"bad_document".*not one JSON object`},
		{"POST", "/v1/revocations", `{"users":["alice"]}`, 400, `unknown member`},
		{"POST", "/v1/revocations", `{"user":"\u0000"}`, 400, `control character`},
		{"POST", "/v1/revocations", `{"token":"` + strings.Repeat("x", maxRevocation) + `"}`, 413, `too_big`},
		{"GET", "/v1/revocations", "", 200, `"user":"alice".*"token":"t"|"token":"t".*"user":"alice"`},
		{"DELETE", "/v1/revocations?id=ID", "", 200, `^{"deleted":1}\n$`},
		{"DELETE", "/v1/revocations?id=ID", "", 404, `"not_found"`},
		{"DELETE", "/v1/revocations", "", 400, `id is missing`},
		{"GET", "/metrics", "", 200, `fanfare_revocation_closes_total 1\n`},
		{"GET", "/metrics", "", 200, `fanfare_revocations 1\n`},
	} {
		got := s.call(tt.method, strings.Replace(tt.target, "ID", id, 1), tt.body)
		found := regexp.MustCompile(`(?s)` + tt.want).FindStringSubmatch(got.body)
		if got.status != tt.status || found == nil {
			t.Errorf("%s %s %.60s: %d %.300s", tt.method, tt.target, tt.body, got.status, got.body)
		}
		if len(found) > 1 {
			id = found[1]
		}
	}
}

// awayStore is a store that can be read until it is told to be away.
type awayStore struct {
	revoke.Store
	err error
}

func (s awayStore) Load(context.Context, revoke.Version) ([]revoke.Entry, revoke.Version, error) {
	return nil, revoke.Version{}, s.err
}

func (awayStore) Put(context.Context, revoke.Entry, uint64) (uint64, error) {
	return 0, errors.New("the disk is away")
}

// TestRevocationsUnavailable: a revocation that is not stored is not in force, and a server
// without loaded revocations is not ready.
func TestRevocationsUnavailable(t *testing.T) {
	for _, tt := range []struct {
		load   error
		status map[string]int
	}{
		{nil, map[string]int{"POST /v1/revocations": 503, "GET /v1/revocations": 200, "GET /readyz": 200, "GET /healthz?strict": 200}},
		{errors.New("away"), map[string]int{"POST /v1/revocations": 503, "GET /v1/revocations": 503, "GET /readyz": 503, "GET /healthz?strict": 503, "GET /healthz": 200}},
	} {
		list := newList(t, revoke.Config{Store: awayStore{err: tt.load}})
		defer list.Close()
		s := newAPIServer(t, server.Config{Revocations: list}, Config{}, nil)
		for request, want := range tt.status {
			method, target, _ := strings.Cut(request, " ")
			body := ""
			if method == "POST" {
				body = `{"user":"alice"}`
			}
			if got := s.call(method, target, body); got.status != want {
				t.Errorf("load %v: %s: %d %s, want %d", tt.load, request, got.status, got.body, want)
			}
		}
		if got := fmt.Sprint(list.Check("alice", "", time.Now())); got == fmt.Sprint(revoke.Blocked) {
			t.Error("an entry that is not stored is in force")
		}
	}
	s := newAPIServer(t, server.Config{}, Config{}, nil)
	for _, method := range []string{"GET", "POST", "DELETE"} {
		target := "/v1/revocations"
		if method == "DELETE" {
			target += "?id=1"
		}
		if got := s.call(method, target, ""); got.status != 501 || !strings.Contains(got.body, "no_revocations") {
			t.Errorf("%s without a list: %d %s", method, got.status, got.body)
		}
	}
}
