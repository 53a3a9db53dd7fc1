package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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

// pusherScript is what runs the libraries of the protocol, as npm has them.
type pusherScript struct {
	node, clients, apps, port string
}

// write writes the file of apps.
func (s *pusherScript) write(t *testing.T, secret, more string) {
	t.Helper()
	text := `{"apps":[{"id":"app1","key":"key1","secret":"` + secret + `","client_events":true,"subscription_count":true,
		` + more + `"webhooks":[{"url":"http://127.0.0.1:` + s.port + `/"}]}]}`
	if err := os.WriteFile(s.apps, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func newPusherScript(t *testing.T, ctx context.Context, dir string) *pusherScript {
	t.Helper()
	node := installed(t, "node", "nodejs")
	installed(t, "npm", "npm")
	modules, err := build.Modules(ctx, "testdata/pusher")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("testdata/pusher/clients.mjs")
	if err != nil {
		t.Fatal(err)
	}
	s := &pusherScript{node, filepath.Join(dir, "clients.mjs"), filepath.Join(dir, "apps.json"), freePorts(t, 1)[0]}
	if err := os.WriteFile(s.clients, script, 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

const scriptSecret = "0123456789abcdef0123"

// TestPusherClients runs the libraries against the program.
func TestPusherClients(t *testing.T) {
	withoutRace(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	dir := t.TempDir()
	s := newPusherScript(t, ctx, dir)
	durable := `"durable":[{"channel":"private-user.*","reader":"channel"}],`
	s.write(t, "another-secret-of-the-app", durable)
	p := startServer(t, nil, "--pusher-apps="+s.apps, "--data-dir="+filepath.Join(dir, "data"))
	s.write(t, scriptSecret, durable)
	p.cmd.Process.Signal(syscall.SIGHUP)
	p.waitLog("reloaded")
	cmd := exec.CommandContext(ctx, s.node, "--no-warnings", s.clients, p.public, s.port)
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "ok ") < 15 {
		t.Errorf("%v\n%s", err, out)
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	for line := range p.lines {
		unheard := line["msg"] == "Pusher webhook failed, events dropped" // the script has ended
		if strings.Contains(fmt.Sprint(line), scriptSecret) || line["level"] == "ERROR" && !unheard {
			t.Errorf("the log has a secret or an error: %v", line)
		}
	}
}

// TestPusherNodes runs pusher-js against two nodes, of which one is killed.
func TestPusherNodes(t *testing.T) {
	withoutRace(t)
	t.Parallel() // waits until a node counts as dead
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	s := newPusherScript(t, ctx, t.TempDir())
	s.write(t, scriptSecret, "")
	nats := "--nats=" + natsServer(t).ClientURL()
	a, b := startServer(t, nil, nats, "--node-name=a", "--pusher-apps="+s.apps), startServer(t, nil, nats, "--node-name=b", "--pusher-apps="+s.apps)
	cmd := exec.CommandContext(ctx, s.node, "--no-warnings", s.clients, a.public, s.port, "two nodes", b.public)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if said = append(said, lines.Text()); lines.Text() == "kill" {
			b.cmd.Process.Kill()
		}
	}
	if err := cmd.Wait(); err != nil || !slices.Contains(said, "ok two nodes") {
		t.Errorf("%v\n%s", err, strings.Join(said, "\n"))
	}
}

// Durable channels without a store, and a file that is not one are rejected in words.
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
	for _, test := range []struct {
		args []string
		want string
	}{
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
