package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestBinarySize compares the stripped binary of this program with that of its twin on
// gorilla/websocket: an embedder should not link what it does not use.
func TestBinarySize(t *testing.T) {
	if testing.Short() {
		t.Skip("builds two programs")
	}
	dir := t.TempDir()
	size := func(pkg string) int64 {
		t.Helper()
		file := filepath.Join(dir, filepath.Base(pkg))
		build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", file, pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	const most = 2 << 20 // more than the twin
	ours, twin := size("fanfare/examples/hello"), size("fanfare/examples/internal/hello-gorilla")
	t.Logf("%d bytes, on gorilla/websocket %d", ours, twin)
	if ours-twin > most {
		t.Errorf("the binary has %d bytes, %d more than on gorilla/websocket", ours, ours-twin)
	}
}
