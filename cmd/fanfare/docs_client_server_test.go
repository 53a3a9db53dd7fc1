package main

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"
)

// TestDocsClientAndServer runs the complete client of the document, and the library,
// against a real server whose process is killed, whose storage is replaced by a backup,
// and whose storage is lost.
func TestDocsClientAndServer(t *testing.T) {
	withoutRace(t)
	t.Run("document", func(t *testing.T) { testClientAndServer(t, clients(t)) })
	t.Run("library", func(t *testing.T) { testClientAndServer(t, libraryClients(t)) })
}

func testClientAndServer(t *testing.T, n *node) {
	ports, dir, backup := freePorts(t, 2), t.TempDir(), t.TempDir()
	public, api := "127.0.0.1:"+ports[0], "127.0.0.1:"+ports[1]
	data := dir + "/data"
	start := func() *process {
		return startServer(t, nil, "--listen="+public, "--api="+api, "--data-dir="+data, "--durable-topic=scores.*")
	}
	number := 0
	push := func(text string) {
		number++
		post(t, fmt.Sprintf("http://%s/v1/users/bob/push?durable=true&id=%d", api, number), "text/plain", text)
	}
	publish := func(text string) {
		number++
		post(t, fmt.Sprintf("http://%s/v1/topics/scores.final/push?id=%d", api, number), "text/plain", text)
	}

	p := start()
	push("one")
	n.connect("ws://"+public+"/ws?user=bob", "bob", "scores.final")
	n.expect(`["bob",null,"one"]`)
	publish("0:1")
	n.expect(`["bob","scores.final","0:1"]`)

	// Killed: the client resumes, and receives nothing twice.
	waitAcked(t, p)
	p.signal(syscall.SIGKILL)
	p.wait()
	p = start()
	waitOnline(t, api, "bob")
	push("two")
	n.expect(`["bob",null,"two"]`)
	publish("0:2")
	n.expect(`["bob","scores.final","0:2"]`)

	// A backup is restored: what came after it is missing, and the client gets a gap,
	// although the server gives the same offsets to other messages.
	waitAcked(t, p)
	stop(t, p)
	if err := os.CopyFS(backup, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	p = start()
	waitOnline(t, api, "bob")
	push("three")
	n.expect(`["bob",null,"three"]`)
	waitAcked(t, p)
	stop(t, p)
	os.RemoveAll(data)
	if err := os.CopyFS(data, os.DirFS(backup)); err != nil {
		t.Fatal(err)
	}
	p = start()
	push("another three")
	push("another four")
	n.expectAnyOrder(`["bob",null]`, `["bob",null,"one"]`, `["bob",null,"two"]`, `["bob",null,"another three"]`, `["bob",null,"another four"]`,
		`["bob","scores.final"]`, `["bob","scores.final","0:1"]`, `["bob","scores.final","0:2"]`)

	// The storage is lost.
	waitAcked(t, p)
	stop(t, p)
	os.RemoveAll(data)
	start()
	push("all new")
	publish("all new, too")
	n.expectAnyOrder(`["bob",null]`, `["bob","scores.final"]`, `["bob",null,"all new"]`, `["bob","scores.final","all new, too"]`)
}

func stop(t *testing.T, p *process) {
	t.Helper()
	p.signal(syscall.SIGTERM)
	if st := p.wait(); st.ExitStatus() != 0 {
		t.Fatalf("the server ended with %v", st)
	}
}

// waitAcked waits until bob has acknowledged everything.
func waitAcked(t *testing.T, p *process) {
	t.Helper()
	for wait := bound; wait > 0; wait -= pollEvery {
		if n := unread(t, p, "bob"); n == 0 {
			return
		}
		time.Sleep(pollEvery)
	}
	t.Fatal("the acknowledgements do not arrive")
}
