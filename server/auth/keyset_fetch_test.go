package auth

import (
	"context"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestNewKeySet: what is wrong with a configuration is an error without a connection.
func TestNewKeySet(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("keys.json", oldKeys)
	for _, tt := range []struct {
		name string
		cfg  KeySetConfig
		want string
	}{
		{"https", KeySetConfig{Source: "https://id.example.com/keys"}, ""},
		{"http on loopback", KeySetConfig{Source: "http://127.0.0.1:1/keys"}, ""},
		{"http on IPv6 loopback", KeySetConfig{Source: "http://[::1]:1/keys"}, ""},
		{"http on localhost", KeySetConfig{Source: "http://localhost:1/keys"}, ""},
		{"http elsewhere", KeySetConfig{Source: "http://id.example.com/keys"}, "want https"},
		{"http on a name like loopback", KeySetConfig{Source: "http://localhost.example.com/keys"}, "want https"},
		{"http elsewhere, in words", KeySetConfig{Source: "http://id.example.com/keys", InsecureHTTP: true}, ""},
		{"no host", KeySetConfig{Source: "https:///keys"}, "want an https URL"},
		{"other scheme", KeySetConfig{Source: "ftp://id.example.com/keys"}, "want an https URL"},
		{"password", KeySetConfig{Source: "https://me:secret@id.example.com/keys"}, "has a user or password"},
		{"fragment", KeySetConfig{Source: "https://id.example.com/keys#x"}, "fragment"},
		{"file", KeySetConfig{Source: good}, ""},
		{"file with a CA", KeySetConfig{Source: good, CA: good}, "settings of the connection"},
		{"no file", KeySetConfig{Source: filepath.Join(dir, "none")}, "no such file"},
		{"file without keys", KeySetConfig{Source: file("empty.json", jwksText())}, "the key set is empty"},
		{"long file", KeySetConfig{Source: file("long.json", make([]byte, maxKeysFile+1))}, "longer than 1048576 bytes"},
		{"no CA", KeySetConfig{Source: "https://id.example.com/keys", CA: filepath.Join(dir, "none")}, "no such file"},
		{"not a CA", KeySetConfig{Source: "https://id.example.com/keys", CA: good}, "no certificate in PEM"},
		{"a CA without TLS", KeySetConfig{Source: "http://127.0.0.1/keys", CA: good}, "no effect"},
	} {
		tt.cfg.Issuer, tt.cfg.Logger = "us", slog.New(slog.DiscardHandler)
		ks, err := NewKeySet(tt.cfg)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "no issuer") || ks != nil && ks.fetch == nil && ks.keys.Load() == nil {
			t.Errorf("%s: %v, %+v", tt.name, err, ks)
		}
	}
	if _, err := NewKeySet(KeySetConfig{Source: good}); err == nil || !strings.Contains(err.Error(), "no issuer") {
		t.Errorf("without an issuer: %v", err)
	}
}

// TestFetch: what the server at the URL may do wrong.
func TestFetch(t *testing.T) {
	elsewhere := 0
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		elsewhere++
		w.Write(newKeys)
	}))
	defer other.Close()
	stuck := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/keys", func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept"), "application/jwk-set+json") {
			t.Errorf("Accept is %q", r.Header.Get("Accept"))
		}
		w.Header().Set("Cache-Control", "public, max-age=600, must-revalidate")
		w.Header().Set("Age", "100")
		w.Write(oldKeys)
	})
	mux.HandleFunc("/elsewhere", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) })
	mux.HandleFunc("/away", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	mux.HandleFunc("/empty", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/long", func(w http.ResponseWriter, _ *http.Request) {
		for range maxKeysFile/1024 + 1 {
			w.Write(make([]byte, 1024))
		}
	})
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		w.Write(oldKeys[:10])
	})
	mux.HandleFunc("/header", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X", strings.Repeat("x", 100<<10))
		w.Write(oldKeys)
	})
	giveUp := func() {}
	mux.HandleFunc("/stuck", func(_ http.ResponseWriter, r *http.Request) {
		giveUp()
		select {
		case <-stuck:
		case <-r.Context().Done():
		}
	})
	srv := httptest.NewTLSServer(mux)
	defer srv.Close()
	defer close(stuck)
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	fetch := func(path, ca string) ([]byte, time.Duration, error) {
		t.Helper()
		ks, err := NewKeySet(KeySetConfig{Source: srv.URL + path, Issuer: "us", CA: ca, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		giveUp = cancel
		return ks.fetch(ctx)
	}
	data, age, err := fetch("/keys", ca)
	if err != nil || string(data) != string(oldKeys) || age != 500*time.Second {
		t.Errorf("fetched %q, fresh for %v, %v", data, age, err)
	}
	for _, tt := range []struct{ path, ca, want string }{
		{"/keys", "", "certificate"},
		{"/elsewhere", ca, "it redirects to " + other.URL},
		{"/away", ca, "502 Bad Gateway"},
		{"/empty", ca, "204 No Content"},
		{"/long", ca, "longer than"},
		{"/cut", ca, "unexpected EOF"},
		{"/header", ca, "header"},
		{"/stuck", ca, "context canceled"},
	} {
		if _, _, err := fetch(tt.path, tt.ca); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.path, err, tt.want)
		}
	}
	if elsewhere > 0 {
		t.Error("a redirect was followed")
	}
}

func TestFreshFor(t *testing.T) {
	for _, tt := range []struct {
		control, age string
		want         time.Duration
	}{
		{"", "", 0},
		{"max-age=60", "", time.Minute},
		{`no-transform, Max-Age="60"`, "", time.Minute},
		{"max-age=60", "59", time.Second},
		{"max-age=60", "100", time.Second},
		{"max-age=60", "x", time.Minute},
		{"max-age=-1", "", 0},
		{"max-age=99999999999", "", 0},
		{"s-maxage=60", "", 0},
	} {
		h := http.Header{"Cache-Control": {tt.control}, "Age": {tt.age}}
		if got := freshFor(h); got != tt.want {
			t.Errorf("%s: %v, want %v", fmt.Sprint(h), got, tt.want)
		}
	}
}
