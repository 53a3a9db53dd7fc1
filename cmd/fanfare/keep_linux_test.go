package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/gobwas/ws"
)

// TestKeep kills the server again and again: idle sessions do not notice it.
func TestKeep(t *testing.T) {
	k := startKept(t)
	const n = 20
	all := subscribe(t, k.process, n)
	var events []*bufio.Reader
	for range 3 {
		resp, err := http.Get("http://" + k.public + "/sse?user=eve&topic=t")
		if err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		}
		defer resp.Body.Close()
		events = append(events, bufio.NewReader(resp.Body))
	}
	var echoes []net.Conn
	for range 3 {
		echoes = append(echoes, k.dialKept("/echo"))
	}
	const sessions = n + 3 + 3
	next := 0
	for range 3 {
		k.awaitDescribed(sessions)
		k.publish(next, next+3, n+3)
		for i := range 3 {
			for j, br := range events {
				if got, want := event(t, br), fmt.Sprintf("<%d>", next+i); got != want {
					t.Fatalf("events of client %d: %s: want %s", j, got, want)
				}
			}
		}
		next += 3
		all.verify(next)
		for i, conn := range echoes {
			echoText(t, conn, fmt.Sprint("echo", i))
		}
		k.awaitMarks(0, 0)
		k.kill()
	}
	k.publish(next, next+1, n+3)
	all.verify(next + 1)
	for _, conn := range echoes {
		echoText(t, conn, "last")
	}

	// SIGTERM ends the keeper, the server and the sessions.
	k.signal(syscall.SIGTERM)
	for _, conn := range echoes {
		expectClose(t, conn, ws.StatusGoingAway)
	}
	waitFor(t, "the end of all sessions", func() bool { return int(all.ended.Load()) == n })
	if status := k.wait(); status.ExitStatus() != exitOK {
		t.Errorf("exit code %d", status.ExitStatus())
	}
	if _, err := net.Dial("tcp", k.public); err == nil {
		t.Error("the listener is open")
	}
}

// TestKeepClosesBusySessions kills the server while a message of one client has arrived in part,
// and one to another client is sent in part.
func TestKeepClosesBusySessions(t *testing.T) {
	k := startKept(t, "--queue-bytes=64MiB")
	half, fragments, idle := k.dialKept("/echo"), k.dialKept("/echo"), k.dialKept("/echo")
	slow := k.dialKept("/ws?user=slow")
	k.awaitDescribed(4)
	half.Write([]byte{0x81, 0x85, 1, 2})
	ws.WriteFrame(fragments, ws.MaskFrameInPlace(ws.NewFrame(ws.OpText, false, []byte("one"))))
	payload := strings.Repeat("0123456789abcdef", 60<<10)
	pushed := 0
	for ; pushed < 40; pushed++ {
		k.post("/v1/users/slow/push", payload, 1)
	}
	k.awaitMarks(2, 1)
	k.kill()
	expectClose(t, half, 1012)
	expectClose(t, fragments, 1012)
	echoText(t, idle, "still here")
	// What arrives is a part of what was sent, and nothing else.
	got, _ := io.ReadAll(slow)
	frame := bytes.NewBuffer(nil)
	ws.WriteFrame(frame, ws.NewTextFrame([]byte(payload)))
	want := bytes.Repeat(frame.Bytes(), pushed)
	if len(got) == len(want) || !bytes.HasPrefix(want, got) {
		t.Errorf("%d bytes have arrived, of %d, or other bytes", len(got), len(want))
	}
	k.post("/v1/users/slow/push?durable=true", "later", 0)
}

// TestKeepStored kills the server while a session has not acknowledged what was stored for it.
func TestKeepStored(t *testing.T) {
	k := startKept(t)
	conn, br, _, err := ws.Dialer{Timeout: bound, Protocols: []string{"fanfare.v1"}}.Dial(t.Context(), "ws://"+k.public+"/ws?user=alice")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var r io.Reader = conn
	if br != nil {
		r = br
	}
	var got []string
	read := func() string {
		for {
			f, err := readFrame(r)
			switch {
			case err != nil:
				t.Fatalf("%v, after %v", err, got)
			case f.Header.OpCode == ws.OpPing:
				ws.WriteFrame(conn, ws.MaskFrameInPlace(ws.NewPongFrame(f.Payload)))
			case strings.Contains(string(f.Payload), "stored"):
				got = append(got, string(f.Payload))
				return string(f.Payload)
			}
		}
	}
	k.awaitDescribed(1)
	for i := range 6 {
		k.post("/v1/users/alice/push?durable=true", fmt.Sprintf("stored %d.", i), 1)
		if text := read(); !strings.Contains(text, fmt.Sprintf("stored %d.", i)) {
			t.Fatalf("message %d: %v", i, got)
		}
		if i%2 == 1 {
			k.awaitMarks(0, 0)
			k.kill()
			k.awaitDescribed(1)
		}
	}
}

// TestKeepManyAtWork kills the server while clients echo and receive: a session goes on without a
// loss, or is closed. Nothing else arrives.
func TestKeepManyAtWork(t *testing.T) {
	k := startKept(t)
	const n = 40
	var closed, rounds atomic.Int64
	quit := make(chan struct{})
	done := make(chan error, n)
	for i := range n {
		conn := k.dialKept("/echo")
		go func() {
			for j := 0; ; j++ {
				select {
				case <-quit:
					done <- nil
					return
				default:
				}
				text := fmt.Sprintf("client %d message %d", i, j)
				err := ws.WriteFrame(conn, ws.MaskFrameInPlace(ws.NewTextFrame([]byte(text))))
				var f ws.Frame
				if err == nil {
					f, err = readFrame(conn)
				}
				switch {
				case err != nil: // an echo was being sent
					closed.Add(1)
					done <- nil
					return
				case f.Header.OpCode == ws.OpClose:
					closed.Add(1)
					if code, _ := ws.ParseCloseFrameData(f.Payload); code != 1012 {
						done <- fmt.Errorf("closed with %d", code)
						return
					}
					done <- nil
					return
				case string(f.Payload) != text:
					done <- fmt.Errorf("got %q, sent %q", f.Payload, text)
					return
				}
				rounds.Add(1)
			}
		}()
	}
	k.awaitDescribed(n)
	alive := n
	for range 3 {
		before := rounds.Load()
		waitFor(t, "echoes", func() bool { return rounds.Load() > before+200 })
		survivors := k.kill()
		t.Logf("%d of %d sessions survive", survivors, alive)
		if alive = survivors; alive == 0 {
			t.Fatal("all clients were closed: a server is not in all of their messages at once")
		}
		k.awaitDescribed(alive)
	}
	if got := n - int(closed.Load()); got < alive {
		t.Errorf("%d clients are connected: want %d", got, alive)
	}
	close(quit)
	for range n {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestKeepSignals: the keeper forwards SIGHUP, an upgrade is rejected with a reason, and a server
// that ends by itself is not started again.
func TestKeepSignals(t *testing.T) {
	k := startKept(t)
	conn := k.dialKept("/echo")
	k.signal(syscall.SIGHUP)
	k.waitLog("reloaded")
	if r := runProgram(t, "", nil, "upgrade", "--control", k.control); r.code != exitFailure || !strings.Contains(r.stderr, "--keep is set") {
		t.Errorf("upgrade: %+v", r)
	}
	echoText(t, conn, "still here")
	syscall.Kill(k.children()[0], syscall.SIGTERM)
	expectClose(t, conn, ws.StatusGoingAway)
	if status := k.wait(); status.ExitStatus() != exitOK {
		t.Errorf("exit code %d", status.ExitStatus())
	}
}

// TestKeepGivesUp: a server that dies again and again is not started any more after a while.
func TestKeepGivesUp(t *testing.T) {
	k := startKept(t)
	conn := k.dialKept("/echo")
	k.awaitDescribed(1)
	k.awaitMarks(0, 0)
	for range 4 {
		k.kill()
		k.awaitDescribed(1)
		echoText(t, conn, "still here")
		k.awaitMarks(0, 0)
	}
	syscall.Kill(k.children()[0], syscall.SIGKILL)
	expectClose(t, conn, 1012)
	if status := k.wait(); status.ExitStatus() != exitFailure {
		t.Errorf("exit code %d: want %d", status.ExitStatus(), exitFailure)
	}
}

// TestKeepDescriptors: as many sessions as a server accepts survive its death, because the descriptors
// suffice for the duplicates, too.
func TestKeepDescriptors(t *testing.T) {
	k := startKeptIn(t, []string{descriptorsEnv + "=700"})
	room := 0
	for _, w := range k.warnings() {
		if w["msg"] == "few file descriptors" {
			room = int(w["max_connections"].(float64))
		}
	}
	var all []net.Conn
	for range room {
		all = append(all, k.dialKept("/echo"))
	}
	k.awaitDescribed(room)
	k.awaitMarks(0, 0)
	if n := k.kill(); n != room || room < 100 {
		t.Errorf("%d of %d sessions survive", n, room)
	}
	for _, conn := range all {
		echoText(t, conn, "still here")
	}
}

// TestKeepRejects: flags that are wrong together, and a server that does not start.
func TestKeepRejects(t *testing.T) {
	withoutRace(t)
	for want, args := range map[string][]string{
		"--transport epoll":          {"--transport=goroutine"},
		"cannot be combined":         {"--presence-topic=a"},
		"combined with --webhook":    {"--webhook=https://example.com/", "--webhook-secret-file=x"},
		"sessions with TLS":          {"--tls-cert=a", "--tls-key=b"},
		"which is not loopback":      {"--api=0.0.0.0:0"},
		"cannot listen on 192.0.2.1": {"--listen=192.0.2.1:1", "--insecure-identity"},
	} {
		r := runProgram(t, "", nil, append([]string{"serve", "--keep", "--api=127.0.0.1:0", "--listen=127.0.0.1:0", "--data-dir=none"}, args...)...)
		if r.code == exitOK || !strings.Contains(r.stderr, want) {
			t.Errorf("%v: %+v: want %q", args, r, want)
		}
	}
}
