package main

import (
	"os"
	"path/filepath"
	"testing"
)

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
	withoutRace(t)
	const localDataDir = "fanfare-data"
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
