package main

import (
	"os"
	"path/filepath"
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

// TestDataDirIsCreatedAndPrinted starts a service in the root directory, as systemd does.
func TestDataDirIsCreatedAndPrinted(t *testing.T) {
	dir := t.TempDir()
	state := filepath.Join(dir, "a", "b")
	p := startServerStoring(t, "/", []string{"XDG_STATE_HOME=" + state})
	want := filepath.Join(state, "fanfare")
	if p.serving["data_dir"] != want {
		t.Errorf("it prints %v, want %s", p.serving["data_dir"], want)
	}
	if info, err := os.Stat(want); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("%v, %v", info, err)
	}
	if n := len(p.warnings()); n > 0 {
		t.Errorf("warnings: %v", p.warnings())
	}
}

// TestUnusedDataDir: a directory of an earlier version is not ignored silently.
func TestUnusedDataDir(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, localDataDir), 0o700); err != nil {
		t.Fatal(err)
	}
	p := startServerStoring(t, dir, []string{"STATE_DIRECTORY=" + filepath.Join(dir, "state")})
	if w := p.warnings(); len(w) != 1 || w[0]["found"] != localDataDir || w[0]["used"] != filepath.Join(dir, "state") {
		t.Errorf("warnings: %v", w)
	}
	p = startServerIn(t, dir, nil, "--data-dir="+localDataDir)
	if w := p.warnings(); len(w) > 0 {
		t.Errorf("warnings: %v", w)
	}
}
