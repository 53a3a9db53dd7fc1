package settings

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"testing"
)

func TestDefaultDataDir(t *testing.T) {
	home := t.TempDir()
	for _, test := range []struct {
		name             string
		state, xdg, home string
		want             string // empty: that of a service
	}{
		{"systemd", "/var/lib/fanfare", "/xdg", home, "/var/lib/fanfare"},
		{"systemd with several", "/var/lib/fanfare:/var/lib/other", "", home, "/var/lib/fanfare"},
		{"XDG", "", "/xdg", home, "/xdg/fanfare"},
		{"XDG that is not absolute", "", "xdg", home, home + "/.local/state/fanfare"},
		{"home", "", "", home, home + "/.local/state/fanfare"},
		{"no home", "", "", "", ""},
		{"home of a service user", "", "", "/nonexistent", ""},
		{"home is the root", "", "", "/", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("STATE_DIRECTORY", test.state)
			t.Setenv("XDG_STATE_HOME", test.xdg)
			t.Setenv("HOME", test.home)
			for root, service := range map[bool]string{true: "/var/lib/fanfare", false: "fanfare-data"} {
				want := test.want
				if want == "" {
					want = service
				}
				if got := defaultDataDirOf(root); got != want {
					t.Errorf("root %t: got %s, want %s", root, got, want)
				}
			}
		})
	}
}

// TestUnusedDataDirWarning: the directory is looked for once, also where certificates are stored in it.
func TestUnusedDataDirWarning(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("STATE_DIRECTORY", t.TempDir())
	if err := os.Mkdir(localDataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	if _, err := parseServe(t, "--acme-domain=a.test", "--acme-agree").Plan(slog.New(slog.NewTextHandler(&log, nil))); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "unused data directory"); n != 1 {
		t.Errorf("%d warnings: %s", n, &log)
	}
}
