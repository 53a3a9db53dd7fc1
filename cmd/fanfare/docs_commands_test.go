package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// TestDocsCommands pastes the commands of every document into a shell, and compares the
// answers that are shown.
func TestDocsCommands(t *testing.T) {
	withoutRace(t)
	total := 0
	for file, text := range documents(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			all, _ := blocks(file, text)
			sh, output := (*shell)(nil), ""
			for _, b := range all {
				switch {
				case b.notRun != "":
				case b.lang == "nats":
					config := sh.ports.Replace(cheapPasswords(t, b))
					if err := os.WriteFile(filepath.Join(sh.dir, "nats.conf"), []byte(config), 0o600); err != nil {
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

var hashedPassword = regexp.MustCompile(`"(\$2a\$[^"]+)"\s*# of (\S+),`)

// cheapPasswords checks the hashes of passwords in a configuration of NATS, and replaces them by hashes that are
// computed in no time. With the race detector on a busy machine, those of the documents take longer than NATS and its
// clients wait for the login.
func cheapPasswords(t *testing.T, b *block) string {
	text := b.text
	for _, m := range hashedPassword.FindAllStringSubmatch(text, -1) {
		hash, password := m[1], []byte(m[2])
		if err := bcrypt.CompareHashAndPassword([]byte(hash), password); err != nil {
			t.Errorf("%s: %s is not of %s: %v", b, hash, password, err)
		}
		cheap, err := bcrypt.GenerateFromPassword(password, bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		text = strings.ReplaceAll(text, hash, string(cheap))
	}
	if strings.Contains(text, "$2a$10$") {
		t.Errorf("%s: a hash does not say of which password it is", b)
	}
	return text
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
	withoutRace(t)
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
