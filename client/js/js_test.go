// Package js_test runs the tests of the JavaScript client.
package js_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"fanfare/client/js/build"
)

// patience bounds what takes seconds, on a busy machine.
const patience = time.Minute

var directory string

// built builds the client once for all tests.
var built = sync.OnceValue(func() error { return build.Into(context.Background(), ".", directory) })

func TestMain(m *testing.M) {
	var err error
	if directory, err = os.MkdirTemp("", "fanfare-client-js-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(directory)
	os.Exit(code)
}

func needBuild(t *testing.T) {
	t.Helper()
	err := built()
	if errors.Is(err, build.ErrMissing) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// command runs a program to its end and returns what it prints.
func command(t *testing.T, dir string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.WaitDelay = dir, time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return string(out)
}

// TestUnits runs the tests in test, with a fake server and a fake clock.
func TestUnits(t *testing.T) {
	needBuild(t)
	files, err := filepath.Glob(filepath.Join(directory, "test", "*.test.mjs"))
	if err != nil || len(files) < 2 {
		t.Fatalf("found %q: %v", files, err)
	}
	out := command(t, directory, append([]string{"node", "--test"}, files...)...)
	if strings.Contains(out, "# pass 0\n") || !strings.Contains(out, "# fail 0\n") || !strings.Contains(out, "# skipped 0\n") {
		t.Errorf("the tests did not run:\n%s", out)
	}
}

// TestSize keeps what a page loads small.
func TestSize(t *testing.T) {
	needBuild(t)
	const most = 6_000
	b, err := os.ReadFile(filepath.Join(directory, "dist", "fanfare.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	var z bytes.Buffer
	w, _ := gzip.NewWriterLevel(&z, gzip.BestCompression)
	w.Write(b)
	w.Close()
	t.Logf("%d bytes, %d compressed", len(b), z.Len())
	if z.Len() >= most {
		t.Errorf("fanfare.min.js has %d bytes compressed, want less than %d", z.Len(), most)
	}
}

// TestPack installs the package from its archive and uses it in a folder of its own, with
// its types.
func TestPack(t *testing.T) {
	needBuild(t)
	archive := strings.TrimSpace(command(t, directory, "npm", "pack", "--ignore-scripts", "--silent"))
	dir := t.TempDir()
	program := `
import {Client, memoryStore} from "fanfare-client";
class Socket { protocol = "fanfare.v1"; constructor(url) { this.url = url; setTimeout(() => this.onmessage({data: JSON.stringify({type: "hello", user: "bob"})})); } close() {} }
const client = new Client({url: "ws://example.com/ws", WebSocket: Socket, user: "bob", store: memoryStore()});
await client.connect();
console.log(client.state);
client.close();
`
	typed := `
import {Client, type ClientError, type Message} from "fanfare-client";
const client = new Client({url: "/ws", ack: "manual"});
const stop: () => void = client.inbox((m: Message) => m.ack());
client.on("error", (e: ClientError) => { if (e.kind === "close") console.log(e.code); });
client.subscribe("news", async m => { const n: {n: number} = m.json(); console.log(n.n, stop); });
// @ts-expect-error: there is no such event
client.on("message", () => {});
`
	for name, text := range map[string]string{"package.json": `{"private": true, "type": "module"}`, "main.mjs": program, "typed.ts": typed} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	command(t, dir, "npm", "install", "--offline", "--no-audit", "--no-fund", filepath.Join(directory, archive))
	if out := command(t, dir, "node", "main.mjs"); out != "open\n" {
		t.Errorf("the program printed %q", out)
	}
	command(t, dir, filepath.Join(directory, "node_modules", ".bin", "tsc"), "--noEmit", "--strict", "--module", "esnext",
		"--moduleResolution", "bundler", "--target", "es2022", "--lib", "es2022,dom", "--types", "", "typed.ts")
	files, err := os.ReadDir(filepath.Join(dir, "node_modules", "fanfare-client"))
	if err != nil || len(files) != 3 { // README.md, dist, package.json
		t.Errorf("the package has %v, %v", files, err)
	}
}

// TestLockFile keeps the addresses of registries out of the repository.
func TestLockFile(t *testing.T) {
	b, err := os.ReadFile("package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b, []byte(`"resolved"`)) {
		t.Error("package-lock.json names a registry: write it with omit-lockfile-registry-resolved=true, as .npmrc says")
	}
}
