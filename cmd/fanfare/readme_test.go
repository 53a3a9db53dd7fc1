package main

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/gobwas/ws/wsutil"

	"fanfare/server"
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

// TestREADMEHasAConfigFile: the one there can be used as it is.
func TestREADMEHasAConfigFile(t *testing.T) {
	block := regexp.MustCompile("(?s)```json\n(.*?)```").FindStringSubmatch(readme(t))
	if block == nil {
		t.Fatal("there is none")
	}
	file := filepath.Join(t.TempDir(), "fanfare.json")
	if err := os.WriteFile(file, []byte(block[1]), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := parseServe(t, "--config="+file, "--data-dir=none").config(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv.Shutdown(t.Context())
}

// TestREADMENamesNoOtherFlags: what is written like a flag is one of fanfare, or of
// the tools that are named beside it.
func TestREADMENamesNoOtherFlags(t *testing.T) {
	known := map[string]bool{"help": true, "topic": true, "json": true, "ulimit": true}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[serveCmd]()) {
		known[flagName(f)] = true
	}
	for _, m := range regexp.MustCompile("[ `(]--([a-z][a-z-]*)").FindAllStringSubmatch(readme(t), -1) {
		if !known[m[1]] {
			t.Errorf("--%s is no flag", m[1])
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
