package webhook

import (
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func loggerTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

func TestValidate(t *testing.T) {
	good := func() Config {
		return Config{Hooks: []Hook{{URL: "https://a.example.com/x"}}, Secrets: secretsOf(t, secretText), Node: "n", Logger: quiet}
	}
	for _, tt := range []struct {
		change func(*Config)
		want   string // empty: valid
	}{
		{func(*Config) {}, ""},
		{func(c *Config) { c.Hooks[0].URL = "http://127.0.0.1:1/" }, ""},
		{func(c *Config) { c.Hooks[0].Events = []string{"user.*", "message.received"} }, ""},
		{func(c *Config) { c.Hooks[0].URL, c.InsecureHTTP = "http://a.example.com/", true }, ""},
		{func(c *Config) { c.Hooks[0].URL = "http://a.example.com/?token=hidden" }, "InsecureHTTP is not set, and the webhook http://a.example.com is not on this machine"},
		{func(c *Config) { c.Hooks[0].URL = "a.example.com/hidden" }, "Hooks has a URL without a host: want an https URL"},
		{func(c *Config) { c.Hooks[0].URL = "https://u:hidden@a.example.com/" }, "want it without"},
		{func(c *Config) { c.Hooks[0].Events = []string{"user.onlin"} }, `Hooks has the unknown event "user.onlin": want session.opened, `},
		{func(c *Config) { c.Hooks[0].Events = []string{"nothing.*"} }, `unknown event "nothing.*"`},
		{func(c *Config) { c.Hooks = append(c.Hooks, c.Hooks[0]) }, "Hooks has https://a.example.com twice"},
		{func(c *Config) { c.Secrets = nil }, "Secrets is empty"},
		{func(c *Config) { c.Node = "" }, "Node is empty"},
		{func(c *Config) { c.OfflineGrace = -1 }, "OfflineGrace is -1ns"},
		{func(c *Config) { c.MaxBytes = 1 }, "MaxBytes is 1"},
		{func(c *Config) { c.MaxAge = time.Second }, "MaxAge is 1s"},
		{func(c *Config) { c.Timeout = time.Hour }, "Timeout is 1h0m0s"},
		{func(c *Config) { c.URL, c.Dir = "nats://a", "/x" }, "Dir and URL exclude each other"},
		{func(c *Config) { c.URL = "http://x" }, "URL"},
		{func(c *Config) { c.CA = "/does/not/exist" }, "CA cannot be read: stat /does/not/exist"},
	} {
		cfg := good()
		tt.change(&cfg)
		err := cfg.Validate()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "hidden") {
			t.Errorf("the error has a secret: %v", err)
		}
	}
}

// TestKinds: a webhook without a list is told of everything but messages of clients.
func TestKinds(t *testing.T) {
	for events, want := range map[string]string{
		"":                       "session.opened session.closed session.slow user.online user.offline topic.occupied topic.vacated message.unread",
		"user.online":            "user.online",
		"topic.* session.closed": "topic.occupied topic.vacated session.closed",
		"*":                      "session.opened session.closed session.slow user.online user.offline topic.occupied topic.vacated message.received message.unread",
	} {
		kinds, err := Hook{Events: strings.Fields(events)}.Kinds()
		var got []string
		for _, k := range kinds {
			got = append(got, k.String())
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %v %v", events, got, err)
		}
	}
}
