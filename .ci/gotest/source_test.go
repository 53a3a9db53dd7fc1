package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestRaceOnly: a check that is made without the race detector only is in a test that is skipped with it. Otherwise the
// pass without the race detector does not run the test, and nothing makes the check.
func TestRaceOnly(t *testing.T) {
	unless := regexp.MustCompile(`!\s*raceEnabled`)
	files := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") || filepath.Base(path) == "source_test.go" {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for i, line := range strings.Split(string(b), "\n") {
			if unless.MatchString(line) {
				t.Errorf("%s:%d: write if raceEnabled { t.Skip(…) } before the check: %s", path, i+1, strings.TrimSpace(line))
			}
		}
		return nil
	})
	if err != nil || files < 100 {
		t.Errorf("read %d files, %v", files, err)
	}
}
