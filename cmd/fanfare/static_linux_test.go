package main

import (
	"debug/elf"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// buildStatic builds the program once, in a directory that TestMain removes.
var buildStatic = sync.OnceValues(func() (file string, err error) {
	dir, err := os.MkdirTemp("", "fanfare")
	if err != nil {
		return "", err
	}
	removeStatic = func() { os.RemoveAll(dir) }
	file = filepath.Join(dir, "fanfare")
	return file, buildRelease(file, runtime.GOARCH)
})

// buildRelease builds the program as a release is built, for an architecture.
func buildRelease(file, arch string) error {
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.version=v1.2.3-test", "-o", file, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOARCH="+arch)
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

func staticBinary(t *testing.T) string {
	t.Helper()
	file, err := buildStatic()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// TestStaticBinary runs the program in a directory that has nothing else. A processor of amd64 runs that of 386, too,
// where an int has 32 bits.
func TestStaticBinary(t *testing.T) {
	withoutRace(t)
	t.Run(runtime.GOARCH, func(t *testing.T) {
		root := t.TempDir()
		if err := os.WriteFile(filepath.Join(root, "fanfare"), must(os.ReadFile(staticBinary(t))), 0o755); err != nil {
			t.Fatal(err)
		}
		testStaticBinary(t, root, strconv.IntSize == 32)
	})
	if runtime.GOARCH == "amd64" {
		t.Run("386", func(t *testing.T) {
			root := t.TempDir()
			if err := buildRelease(filepath.Join(root, "fanfare"), "386"); err != nil {
				t.Fatal(err)
			}
			testStaticBinary(t, root, true)
		})
	}
}

func testStaticBinary(t *testing.T, root string, bits32 bool) {
	file := filepath.Join(root, "fanfare")
	f, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := f.Class == elf.ELFCLASS32; got != bits32 {
		t.Errorf("the binary is of %v", f.Class)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the binary needs a dynamic linker")
		}
	}
	if libraries, err := f.ImportedLibraries(); err == nil && len(libraries) > 0 {
		t.Errorf("the binary needs %v", libraries)
	}

	jailed := func(args ...string) *exec.Cmd {
		cmd := exec.Command("/fanfare", args...)
		cmd.Dir, cmd.Env = "/", []string{}
		inNamespace(cmd)
		if cmd.SysProcAttr == nil {
			cmd.SysProcAttr = new(syscall.SysProcAttr)
		}
		cmd.SysProcAttr.Chroot = root
		return cmd
	}
	out, err := jailed("--version").Output()
	if err != nil || !strings.HasPrefix(string(out), "fanfare v1.2.3-test go") {
		t.Fatalf("--version prints %q, %v", out, err)
	}
	// It serves, and stores messages.
	cmd := jailed("serve", "--listen=127.0.0.1:0", "--api=127.0.0.1:0", "--log-format=json")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	p := &process{t: t, cmd: cmd, lines: make(chan map[string]any, 1000)}
	go p.readLog(stderr)
	p.serving = p.waitLog("serving")
	p.public, p.api = address(p.serving["listen"]), address(p.serving["api"])
	// Only root can chroot, and there is no HOME.
	if p.serving["data_dir"] != "/var/lib/fanfare" {
		t.Errorf("messages are in %v", p.serving["data_dir"])
	}
	p.durable("alice", 1, "xxx")
	if msg, _ := receive(t, p.connect("/ws?user=alice")); !strings.Contains(msg, "xxx") {
		t.Errorf("received %q", msg)
	}
	p.signal(syscall.SIGTERM)
	p.waitLog("drained")
	io.Copy(io.Discard, stderr)
}
