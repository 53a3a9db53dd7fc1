package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestDeleteOnFullDisk: on a disk without any room durable pushes are rejected, the
// API deletes an inbox, and the others stay. When there is room, pushes are stored.
func TestDeleteOnFullDisk(t *testing.T) {
	disk := t.TempDir()
	if err := unix.Mount("none", disk, "tmpfs", 0, "size=32m"); err != nil {
		t.Skipf("no permission to mount a small file system: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(disk, unix.MNT_DETACH) })
	p := startServer(t, nil, "--data-dir="+filepath.Join(disk, "store"))
	p.durable("alice", 3, "of alice")
	p.durable("bob", 2, "of bob")
	filler := fillDisk(t, disk)

	push := func() (int, string) {
		return p.request("POST", p.api+"/v1/users/carol/push?durable=true", strings.Repeat("x", 100_000))
	}
	status, body := 200, ""
	for status == 200 {
		status, body = push()
	}
	if status != 507 || !strings.Contains(body, "disk_full") {
		t.Fatalf("push: %d %s", status, body)
	}
	// The embedded server is started again, and the deletion waits for it.
	status, text := p.request("DELETE", p.api+"/v1/users/alice/inbox", "")
	if status != 200 || !strings.Contains(text, "3") {
		t.Fatalf("delete: %d %s", status, text)
	}
	if status, text := p.get(p.api + "/v1/users/alice/inbox?after=0"); status != 200 || strings.Contains(text, "of alice") {
		t.Errorf("alice: %d %s", status, text)
	}
	if status, text := p.get(p.api + "/v1/users/bob/inbox?after=0"); status != 200 || strings.Count(text, "of bob") != 2 {
		t.Errorf("bob: %d %s", status, text)
	}
	if status, body := push(); status != 507 {
		t.Errorf("push while the disk is full: %d %s", status, body)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(bound); ; {
		if status, body := push(); status == 200 {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("push with room: %d %s", status, body)
		}
	}
	// The store that it wrote meanwhile opens.
	dir := filepath.Join(disk, "store")
	p.signal(unix.SIGTERM)
	p.wait()
	p = startServer(t, nil, "--data-dir="+dir)
	if status, text := p.get(p.api + "/v1/users/bob/inbox?after=0"); status != 200 || strings.Count(text, "of bob") != 2 {
		t.Errorf("bob after a restart: %d %s", status, text)
	}
}

// fillDisk leaves no room on a disk.
func fillDisk(t *testing.T, dir string) (file string) {
	t.Helper()
	file = filepath.Join(dir, "filler")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for b := make([]byte, 64<<10); len(b) > 0; {
		if _, err := f.Write(b); err != nil {
			b = b[:len(b)/2]
		}
	}
	return file
}
