package connecthook

import (
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"fanfare/server/internal/hooktest"
)

// TestSetConfig: a new configuration holds for the next handshake, and an invalid one
// changes nothing.
func TestSetConfig(t *testing.T) {
	f := start(t, answers(200, `{"user":"alice"}`))
	other := httptest.NewServer(answers(200, `{"user":"bob"}`))
	defer other.Close()
	cfg := f.cfg
	cfg.Secrets = nil
	if err := f.hook.SetConfig(cfg); err == nil {
		t.Error("a configuration without hooktest.Secrets was accepted")
	}
	cfg.Secrets, cfg.URL = hooktest.Secrets, other.URL
	for _, user := range []string{"alice", "bob"} {
		if resp, body := answer(t, f.request(t, "/ws")); resp.StatusCode != 101 {
			t.Errorf("%s %q", resp.Status, body)
		}
		if n := len(f.Server.Sessions(t.Context(), user).Sessions); n != 1 {
			t.Errorf("%s has %d sessions", user, n)
		}
		if err := f.hook.SetConfig(cfg); err != nil {
			t.Error(err)
		}
	}
	f.hook.Close()
}

// TestConfig: every mistake in a configuration names its field, see hook.Backend for the others.
func TestConfig(t *testing.T) {
	for _, tt := range []struct {
		field  string
		change func(*Config)
	}{
		{"", func(*Config) {}},
		{"URL", func(c *Config) { c.URL = "" }},
		{"", func(c *Config) { c.URL, c.InsecureHTTP = "http://backend.example/", true }},
		{"URL", func(c *Config) { c.CA = "/nowhere" }},
		{"Secrets", func(c *Config) { c.Secrets = nil }},
		{"Timeout", func(c *Config) { c.Timeout = time.Hour }},
		{"Concurrency", func(c *Config) { c.Concurrency = -1 }},
		{"Failure", func(c *Config) { c.Failure = 7 }},
		{"Headers", func(c *Config) { c.Headers = []string{"a b"} }},
		{"Cookies", func(c *Config) { c.Cookies = []string{""} }},
		{"Query", func(c *Config) { c.Query = make([]string, maxNames+1) }},
	} {
		cfg := Config{URL: "https://backend.example/", Secrets: hooktest.Secrets}
		tt.change(&cfg)
		err := cfg.Validate()
		var named interface{ Field() string }
		if tt.field == "" && err != nil || tt.field != "" && (!errors.As(err, &named) || named.Field() != tt.field) {
			t.Errorf("%v, want an error in %q", err, tt.field)
		}
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{"whsec_YWJj": "abc", "plain": "plain", "whsec_!": ""} {
		got, err := ParseSecret(text)
		if string(got) != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
	for text, want := range map[string]Failure{"reject": Reject, "anonymous": Anonymous} {
		if got, err := ParseFailure(text); got != want || err != nil {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	if _, err := ParseFailure("open"); err == nil {
		t.Error("an unknown policy was accepted")
	}
}
