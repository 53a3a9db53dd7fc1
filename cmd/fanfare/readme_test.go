package main

import (
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/gobwas/ws/wsutil"
)

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestREADMEHasTheFlags: the table names every flag with its default, in the order
// of the help, and no other.
func TestREADMEHasTheFlags(t *testing.T) {
	rows := regexp.MustCompile("(?m)^\\| `--([a-z-]+)` \\| (.*?) ?\\|").FindAllStringSubmatch(readme(t), -1)
	var got, want []string
	for _, row := range rows[2:] { // the first two are the listeners
		got = append(got, row[1]+" "+row[2])
	}
	// Where the default is no value, the table has words.
	words := map[string]string{"max-connections": "by descriptors", "allow-origin": "the same host"}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[serveCmd]()) {
		if f.Anonymous {
			continue
		}
		name, def := flagName(f), f.Tag.Get("default")
		if w, ok := words[name]; ok {
			def = w
		}
		want = append(want, name+" "+def)
	}
	for i := range max(len(got), len(want)) {
		g, w := "nothing", "nothing"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Fatalf("row %d of the table is %q, and the flag is %q", i, g, w)
		}
	}
}

// TestREADMECommandsWork: what begins with curl or printf can be pasted.
func TestREADMECommandsWork(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("CI has no curl: ", err)
		}
		t.Skip("the README's commands are tried with curl, which is not installed: make test installs it")
	}
	p := startServer(t, nil, "--data-dir="+t.TempDir(), "--durable-topic=scores.*")
	var commands []string
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(readme(t), -1) {
		for _, line := range strings.Split(strings.ReplaceAll(block[1], "|\n", "|"), "\n") {
			if strings.HasPrefix(line, "curl ") || strings.HasPrefix(line, "printf ") {
				commands = append(commands, line)
			}
		}
	}
	if len(commands) < 8 {
		t.Fatalf("found only %q", commands)
	}
	for i, command := range commands {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			c := p.connect("/ws?user=alice&topic=weather") // a command may have closed the last one
			defer c.Close()
			out, err := exec.Command("bash", "-c", "set -o pipefail; "+strings.ReplaceAll(command, "127.0.0.1:8081", p.api)+" --fail-with-body -sS").CombinedOutput()
			if err != nil || strings.Contains(string(out), `"error"`) {
				t.Fatalf("%s\n%s%v", command, out, err)
			}
			// Durable messages are for users who are not here.
			if regexp.MustCompile("/(push|broadcast|batch)$").MatchString(command) && !strings.Contains(command, "durable") {
				if _, _, err := wsutil.ReadServerData(c); err != nil {
					t.Errorf("%s\nsays %s, and nothing came: %v", command, out, err)
				}
			}
		})
	}
}
