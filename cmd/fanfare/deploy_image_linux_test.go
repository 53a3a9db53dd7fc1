package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"fanfare/cmd/fanfare/internal/settings"
)

// image is the last stage of a Dockerfile, as far as this repository uses it.
type image struct {
	files                    map[string]string // path in the image: path in the build stage
	owned                    map[string]bool   // by the user of the image
	env                      []string
	user                     int
	entrypoint, cmd, healthy []string
}

// readImage reads the Dockerfile. An instruction that it does not know fails the test.
func readImage(t *testing.T, text string) *image {
	t.Helper()
	m := &image{files: map[string]string{}, owned: map[string]bool{}}
	_, text, ok := strings.Cut(text, "\nFROM scratch\n")
	if !ok {
		t.Fatal("the image is not built from scratch")
	}
	list := func(s string) (words []string) {
		if err := json.Unmarshal([]byte(s), &words); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		return words
	}
	for line := range strings.Lines(text) {
		instruction, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch instruction {
		case "", "#", "EXPOSE", "VOLUME":
		case "COPY":
			f := regexp.MustCompile(`^--from=build (--chown=65532:65532 )?(\S+) (\S+)$`).FindStringSubmatch(rest)
			if f == nil {
				t.Fatalf("COPY %s", rest)
			}
			m.files[f[3]], m.owned[f[3]] = f[2], f[1] != ""
		case "USER":
			user, group, _ := strings.Cut(rest, ":")
			if m.user, _ = strconv.Atoi(user); m.user == 0 || user != group {
				t.Errorf("USER %s: want a number, not root", rest)
			}
		case "ENV":
			m.env = append(m.env, rest)
		case "ENTRYPOINT":
			m.entrypoint = list(rest)
		case "CMD":
			m.cmd = list(rest)
		case "HEALTHCHECK":
			_, words, _ := strings.Cut(rest, " CMD ")
			m.healthy = list(words)
		default:
			t.Fatalf("unknown instruction %q", line)
		}
	}
	return m
}

// assemble makes the file system of the image.
func (m *image) assemble(t *testing.T) (root string) {
	t.Helper()
	root = t.TempDir()
	for dir := root; strings.HasPrefix(dir, os.TempDir()) && dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil { // the user of the image is another one
			t.Fatal(err)
		}
	}
	for to, from := range m.files {
		path := filepath.Join(root, to)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch from {
		case "/data":
			err = os.Mkdir(path, 0o755)
		case "/src/bin/fanfare":
			err = os.Link(staticBinary(t), path)
			if err != nil { // another file system
				err = os.WriteFile(path, must(os.ReadFile(staticBinary(t))), 0o755)
			}
		case "/etc/ssl/certs/ca-certificates.crt":
			err = os.WriteFile(path, nil, 0o644)
		default:
			t.Fatalf("the build stage has no %s", from)
		}
		if err == nil && m.owned[to] {
			err = os.Chown(path, m.user, m.user)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// TestDeployImage starts the image, without docker: its file system is a root directory.
// It serves as its user, stores messages, says that it is healthy, and drains.
func TestDeployImage(t *testing.T) {
	withoutRace(t)
	if os.Getuid() != 0 {
		t.Skip("the image is not started, which needs root")
	}
	m := readImage(t, readDeploy(t, "docker/Dockerfile"))
	root := m.assemble(t)
	port := freePorts(t, 1)[0]
	inside := func(env []string, args ...string) *exec.Cmd {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir, cmd.Env = "/", append(append([]string{"FANFARE_API=0.0.0.0:" + port, settings.APIKeyEnv + "=" + oldKey}, m.env...), env...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: uint32(m.user), Gid: uint32(m.user)}}
		return cmd
	}
	if out, err := inside(nil, m.healthy...).CombinedOutput(); err == nil || !strings.Contains(string(out), "connection refused") {
		t.Errorf("before the start: %v, %s", err, out)
	}
	p := startCommand(t, inside([]string{"FANFARE_LISTEN=127.0.0.1:0", "FANFARE_LOG_FORMAT=json"}, append(m.entrypoint, m.cmd...)...))
	if p.serving["data_dir"] != "/data" {
		t.Errorf("messages are in %v", p.serving["data_dir"])
	}
	if w := p.warnings(); len(w) > 0 {
		t.Errorf("warnings: %v", w)
	}
	if out, err := inside(nil, m.healthy...).CombinedOutput(); err != nil {
		t.Errorf("health: %v, %s", err, out)
	}
	if r := runProgram(t, "", []string{settings.APIKeyEnv + "=" + oldKey}, "push", "--api=127.0.0.1:"+port, "alice", "hello"); r.stdout != "0\n" {
		t.Errorf("%+v", r)
	}
	if stored, err := os.ReadDir(filepath.Join(root, "data")); err != nil || len(stored) == 0 {
		t.Errorf("nothing is in /data: %v", err)
	}
	p.signal(syscall.SIGTERM)
	p.waitLog("drained")
	if s := p.wait(); s.ExitStatus() != exitOK {
		t.Errorf("ended with %v", s)
	}
}
