package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocsCommands pastes the commands of every document into a shell, and compares the
// answers that are shown.
func TestDocsCommands(t *testing.T) {
	total := 0
	for file, text := range documents(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			all, _ := blocks(file, text)
			sh, output := (*shell)(nil), ""
			for _, b := range all {
				switch {
				case b.notRun != "":
				case b.lang == "nats":
					if err := os.WriteFile(filepath.Join(sh.dir, "nats.conf"), []byte(sh.ports.Replace(b.text)), 0o600); err != nil {
						t.Fatal(err)
					}
				case b.lang == "sh":
					total++
					if sh == nil {
						sh = newShell(t)
						if err := sh.start(start{"fanfare", []string{"serve"}, sh.env}); err != nil {
							t.Fatal(err)
						}
					}
					sh.connectAlice()
					var err error
					if output, err = sh.run(b); err != nil {
						t.Fatalf("%s: %v", b, err)
					}
				case b.answer:
					if err := sameAnswer(output, b.text); err != nil {
						t.Errorf("%s: %v", b, err)
					}
				}
			}
		})
	}
	if total < 25 {
		t.Errorf("ran only %d blocks", total)
	}
}

// sameAnswer compares output with what is shown of it, where "…" stands for anything.
func sameAnswer(got, shown string) error {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(shown)), "…", "(?s:.*?)")
	if !regexp.MustCompile("^" + pattern + "$").MatchString(strings.TrimSpace(got)) {
		return errors.New("the answer is\n" + got + "and not\n" + shown)
	}
	return nil
}

func TestDocsSameAnswer(t *testing.T) {
	for _, c := range []struct {
		got, shown string
		same       bool
	}{
		{`{"a":1}` + "\n", `{"a":…}`, true},
		{`{"a":1}`, `{"a":1}` + "\n", true},
		{`{"a":1}`, `{"a":2}`, false},
		{`{"a":1,"b":2}`, `{"a":1}`, false},
		{`{"a":"x"}`, `{"b":…}`, false},
	} {
		if err := sameAnswer(c.got, c.shown); (err == nil) != c.same {
			t.Errorf("%s and %s: %v", c.got, c.shown, err)
		}
	}
}
