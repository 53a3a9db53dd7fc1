package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDataDirOfAnother: the error of a second server on the same directory says what to do.
func TestDataDirOfAnother(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	startServer(t, nil, "--data-dir="+dir)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		dir  string
		code int
		want string
	}{
		{dir, exitFailure, "each server needs a --data-dir of its own, or --data-dir none"},
		{file, exitUsage, "give --data-dir a directory for durable messages, or none"},
		{"/proc/fanfare", exitFailure, "give --data-dir a directory for durable messages, or none"},
	} {
		r := runProgram(t, "", nil, "serve", "--listen=127.0.0.1:0", "--api=127.0.0.1:0", "--data-dir="+test.dir)
		if r.code != test.code || !strings.Contains(r.stderr, test.want) || !strings.Contains(r.stderr, test.dir) {
			t.Errorf("%+v, want %q", r, test.want)
		}
	}
}
