package settings

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestStoreConfig: the directory is absolute in what is logged, and the default of
// --inbox-window follows a short --inbox-age.
func TestStoreConfig(t *testing.T) {
	t.Chdir(t.TempDir())
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args   []string
		window time.Duration // of the configuration
		wrong  string
	}{
		{[]string{"--inbox-age=2s"}, 0, ""},
		{[]string{"--inbox-window=1m"}, time.Minute, ""},
		{[]string{"--inbox-age=2s", "--inbox-window=5m"}, 5 * time.Minute, "Window is 5m0s: want at most Age, which is 2s"},
	} {
		cfg, err := parseServe(t, append([]string{"--data-dir=data"}, test.args...)...).store(1<<20, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if cfg.Dir != filepath.Join(here, "data") || cfg.Window != test.window {
			t.Errorf("%q: directory %s, window %v", test.args, cfg.Dir, cfg.Window)
		}
		if err := cfg.Validate(); (err == nil) != (test.wrong == "") || err != nil && !strings.Contains(err.Error(), test.wrong) {
			t.Errorf("%q: %v", test.args, err)
		}
	}
}
