package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"fanfare/client/js/build"
	"fanfare/server/pusher"
)

const pusherDocument = "docs/pusher.md"

// TestDocsPusherApps: the examples of apps are valid.
func TestDocsPusherApps(t *testing.T) {
	withoutRace(t)
	blocks := docBlocks(t, pusherDocument, "json")
	apps, err := pusher.ParseApps([]byte(blocks[0].text))
	if err != nil {
		t.Fatal(err)
	}
	var durable struct{ Durable []pusher.Durable }
	if err := json.Unmarshal([]byte(blocks[1].text), &durable); err != nil || len(durable.Durable) != 3 {
		t.Fatalf("durable channels %v, %v", durable, err)
	}
	apps[0].Durable = durable.Durable
	if err := (pusher.Config{Apps: apps}).Validate(); err != nil {
		t.Error(err)
	}
}

// TestPusherClients runs the libraries of the protocol, as npm has them, against the program.
func TestPusherClients(t *testing.T) {
	withoutRace(t)
	node := installed(t, "node", "nodejs")
	installed(t, "npm", "npm")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	modules, err := build.Modules(ctx, "testdata/pusher")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("testdata/pusher/clients.mjs")
	if err != nil {
		t.Fatal(err)
	}
	port := freePorts(t, 1)[0]
	file, clients := filepath.Join(dir, "apps.json"), filepath.Join(dir, "clients.mjs")
	apps := func(secret string) {
		t.Helper()
		text := `{"apps":[{"id":"app1","key":"key1","secret":"` + secret + `","client_events":true,"subscription_count":true,
			"durable":[{"channel":"private-user.*","reader":"channel"}],"webhooks":[{"url":"http://127.0.0.1:` + port + `/"}]}]}`
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	apps("another-secret-of-the-app")
	if err := os.WriteFile(clients, script, 0o600); err != nil {
		t.Fatal(err)
	}
	p := startServer(t, nil, "--pusher-apps="+file, "--data-dir="+filepath.Join(dir, "data"))
	apps("0123456789abcdef0123") // the one of the script
	p.cmd.Process.Signal(syscall.SIGHUP)
	p.waitLog("reloaded")
	cmd := exec.CommandContext(ctx, node, "--no-warnings", clients, p.public, port)
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "ok ") < 15 {
		t.Errorf("%v\n%s", err, out)
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	for line := range p.lines {
		unheard := line["msg"] == "Pusher webhook failed, events dropped" // the script has ended
		if strings.Contains(fmt.Sprint(line), "0123456789abcdef0123") || line["level"] == "ERROR" && !unheard {
			t.Errorf("the log has a secret or an error: %v", line)
		}
	}
}

// A cluster, durable channels without a store, and a file that is not one are rejected in words.
func TestPusherRejects(t *testing.T) {
	withoutRace(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return "--pusher-apps=" + file
	}
	const app = `"id":"app1","key":"key1","secret":"a-secret-of-the-app"`
	fine := write("fine", `{"apps":[{`+app+`}]}`)
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{fine, "--nats=nats://127.0.0.1:1"}, "--pusher-apps has no effect across the nodes of --nats"},
		{[]string{write("durable", `{"apps":[{`+app+`,"durable":[{"channel":"private-x","reader":"channel"}]}]}`), "--data-dir=none"}, "need --data-dir"},
		{[]string{write("member", `{"apps":[{`+app+`,"secrets":"hidden-value"}]}`)}, `unknown member "/apps/0/secrets"`},
		{[]string{write("short", `{"apps":[{"id":"a","key":"k","secret":"hidden-value"}]}`)}, "secret has 12 bytes: want at least 16"},
		{[]string{write("json", `{"apps":[{"secret":"hidden-value"`)}, "not valid JSON"},
		{[]string{"--pusher-apps=/nonexistent"}, "--pusher-apps: open /nonexistent"},
	} {
		r := runProgram(t, "", nil, append([]string{"check"}, test.args...)...)
		if !strings.Contains(r.stderr, test.want) || strings.Contains(r.stderr, "hidden-value") {
			t.Errorf("%q: %s, want %q", test.args, r.stderr, test.want)
		}
	}
}
