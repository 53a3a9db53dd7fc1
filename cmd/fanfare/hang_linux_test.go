package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

// TestStoreHangs: an embedded NATS server that does not answer, and does not stop because its
// disk does not answer, ends the program: it says why, closes its sessions, and exits with
// status 1. The next process has what was accepted.
func TestStoreHangs(t *testing.T) {
	dir := t.TempDir()
	p := startServer(t, []string{impatientEnv + "=1"}, "--data-dir="+dir, "--inbox-bytes=1GiB")
	p.durable("alice", 3, "of alice")
	c := p.connect("/ws?user=bob")

	// A pipe that nobody reads stands for a disk that does not answer: the server stops
	// answering when its next block is one, and waits when it opens one to write its state.
	dirs, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", "FANFARE_INBOX", "msgs"))
	if err != nil || len(dirs) != 1 {
		t.Fatal(dirs, err)
	}
	pipes := []string{filepath.Join(dirs[0], "index.db.tmp"), filepath.Join(dirs[0], "2.blk")}
	for _, pipe := range pipes {
		if err := unix.Mkfifo(pipe, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var last struct{ Offset uint64 } // that was accepted
	for failures := 0; failures < 2; {
		status, body := p.request("POST", p.api+"/v1/users/carol/push?durable=true", strings.Repeat("x", 1_000_000))
		if status != http.StatusOK {
			failures++
		} else if err := json.Unmarshal([]byte(body), &last); err != nil || last.Offset > 20 {
			t.Fatal(body, err)
		}
	}

	line := p.waitLog("stopping, so that a new process can use the store")
	if why, _ := line["err"].(string); !strings.Contains(why, "hangs") || !strings.Contains(why, dir) {
		t.Errorf("logged %v", line)
	}
	if f, err := readFrame(c); err != nil || f.Header.OpCode != ws.OpClose {
		t.Errorf("a session gets %v, %v", f, err)
	}
	c.Close()
	end := map[string]any{}
	for line := range p.lines {
		end = line
	}
	if text := fmt.Sprint(end["msg"]); !strings.Contains(text, "the store hangs") || !strings.Contains(text, dir) {
		t.Errorf("its last words are %q", text)
	}
	if status := p.wait(); status.ExitStatus() != exitFailure {
		t.Errorf("exited with %d", status.ExitStatus())
	}

	for _, pipe := range pipes {
		if err := os.Remove(pipe); err != nil {
			t.Fatal(err)
		}
	}
	p = startServer(t, nil, "--data-dir="+dir, "--inbox-bytes=1GiB")
	if _, text := p.get(p.api + "/v1/users/alice/inbox?after=0"); strings.Count(text, "of alice") != 3 {
		t.Errorf("alice: %s", text)
	}
	if _, text := p.get(fmt.Sprintf("%s/v1/users/carol/inbox?after=%d", p.api, last.Offset-1)); !strings.Contains(text, fmt.Sprintf(`"offset":%d`, last.Offset)) {
		t.Errorf("carol: %.300s, want %d", text, last.Offset)
	}
	p.signal(syscall.SIGTERM)
	p.wait()
}
