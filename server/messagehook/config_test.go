package messagehook

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"fanfare/server/internal/hooktest"
)

// TestSetConfig: a new configuration is for the messages that follow, and a wrong one changes
// nothing.
func TestSetConfig(t *testing.T) {
	f := start(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.Path) })
	c := f.dial(t, "alice", "fanfare.v1")
	cfg := f.cfg
	cfg.URL = strings.Replace(cfg.URL, "/message", "/other", 1)
	if err := f.hook.SetConfig(cfg); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{"http://192.0.2.1/": "InsecureHTTP", "ftp://x": "https", "https://a:b@x/": "password"} {
		wrong := cfg
		if wrong.URL = url; f.hook.SetConfig(wrong) == nil || !strings.Contains(wrong.Validate().Error(), want) {
			t.Errorf("%s: %v", url, wrong.Validate())
		}
	}
	if got := c.ask("x"); got != `{"type":"reply","id":"7","text":"/other"}` {
		t.Errorf("got %s", got)
	}
}

// TestValidate: every error names its field.
func TestValidate(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"URL": func(c *Config) { c.URL = "" }, "Secrets": func(c *Config) { c.Secrets = [][]byte{[]byte("short")} },
		"Secrets is empty": func(c *Config) { c.Secrets = nil },
		"Timeout":          func(c *Config) { c.Timeout = time.Hour }, "Connections": func(c *Config) { c.Connections = -1 },
	} {
		cfg := Config{URL: "http://127.0.0.1/", Secrets: hooktest.Secrets}
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), "messagehook: "+strings.Fields(name)[0]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
