package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// keptServer is a server with a keeper.
type keptServer struct {
	*process
	control   string
	described int // sessions that the present server has described, and awaitDescribed has not awaited
}

// startKept starts a server with a keeper.
func startKept(t *testing.T, args ...string) *keptServer {
	t.Helper()
	return startKeptIn(t, nil, args...)
}

// startKeptIn is startKept with variables of the environment.
func startKeptIn(t *testing.T, env []string, args ...string) *keptServer {
	t.Helper()
	dir := t.TempDir()
	control := filepath.Join(dir, "c")
	args = append([]string{"--keep", "--log-level=debug", "--data-dir", filepath.Join(dir, "data"), "--control", control}, args...)
	k := &keptServer{process: startServerStoring(t, "", env, args...), control: control}
	t.Cleanup(func() { // before that of the process, which waits for the end of the log
		all := k.children()
		k.cmd.Process.Kill()
		for _, pid := range all {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return k
}

// children returns the child processes of the keeper that run.
func (k *keptServer) children() (pids []int) {
	keeper := k.cmd.Process.Pid
	all, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", keeper))
	for _, name := range all {
		text, _ := os.ReadFile(name)
		for _, f := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(f); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

const describedLine = "described sessions to the keeper"

func newSessions(line map[string]any) int { return int(line["new"].(float64)) }

// awaitDescribed waits until the server has described n more sessions to the keeper.
func (k *keptServer) awaitDescribed(n int) {
	k.t.Helper()
	for ; k.described < n; k.described += newSessions(k.waitLog(describedLine)) {
	}
	k.described -= n
}

// marks returns the bits of the sessions that the keeper knows, from the memory that it shares with
// the server.
func (k *keptServer) marks() (bits []uint32) {
	k.t.Helper()
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/map_files/*", k.cmd.Process.Pid))
	for _, link := range links {
		if to, _ := os.Readlink(link); !strings.Contains(to, "fanfare-marks") {
			continue
		}
		f, err := os.Open(link)
		if err != nil {
			k.t.Fatal(err)
		}
		defer f.Close()
		head, err := io.ReadAll(io.LimitReader(f, 4096*16))
		if err != nil {
			k.t.Fatal(err)
		}
		for m := head; len(m) > 0; m = m[16:] {
			if binary.NativeEndian.Uint32(m) != 0 {
				bits = append(bits, binary.NativeEndian.Uint32(m[8:]))
			}
		}
		return bits
	}
	k.t.Fatal("the memory of the marks is not found")
	return nil
}

// awaitMarks waits until so many of the sessions are being read and written, and the others are at
// rest.
func (k *keptServer) awaitMarks(reading, writing int) {
	k.t.Helper()
	var bits []uint32
	for end := time.Now().Add(bound); ; time.Sleep(time.Millisecond) {
		r, w, other := 0, 0, 0
		bits = k.marks()
		for _, b := range bits {
			switch b {
			case 0:
			case 1:
				r++
			case 2:
				w++
			default:
				other++
			}
		}
		if r == reading && w == writing && other == 0 {
			return
		}
		if time.Now().After(end) {
			k.t.Fatalf("marks %v: want %d that are read and %d that are written", bits, reading, writing)
		}
	}
}

// kill kills the server, waits for the next one, and returns how many sessions that has.
func (k *keptServer) kill() (survivors int) {
	k.t.Helper()
	pids := k.children()
	if len(pids) != 1 {
		k.t.Fatalf("the keeper has the children %v: want one", pids)
	}
	syscall.Kill(pids[0], syscall.SIGKILL)
	k.described = 0
	died := false
	k.waitLog("serving")
	for _, line := range k.before {
		switch died = died || line["msg"] == "the server has died"; {
		case died && line["msg"] == describedLine:
			k.described += newSessions(line)
		case line["msg"] == "sessions go on":
			survivors = int(line["sessions"].(float64))
		}
	}
	return survivors
}

// publish publishes <from> to <to-1> to the topic t.
func (k *keptServer) publish(from, to, receivers int) {
	k.t.Helper()
	for i := from; i < to; i++ {
		k.post("/v1/topics/t/push", fmt.Sprintf("<%d>", i), receivers)
	}
}

func (k *keptServer) post(path, text string, receivers int) {
	k.t.Helper()
	client := http.Client{Timeout: bound, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Post("http://"+k.api+path, "text/plain", strings.NewReader(text))
	if err != nil {
		k.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if want := fmt.Sprintf(`"receivers":%d`, receivers); resp.StatusCode != 200 || !strings.Contains(string(body), want) {
		k.t.Fatalf("%s: status %d, %s: want %s", path, resp.StatusCode, body, want)
	}
}

// dialKept opens a session.
func (k *keptServer) dialKept(path string) net.Conn {
	k.t.Helper()
	conn, br, _, err := ws.Dialer{Timeout: bound}.Dial(k.t.Context(), "ws://"+k.public+path)
	if err != nil {
		k.t.Fatal(err)
	}
	if br != nil {
		k.t.Fatalf("%d bytes follow the handshake", br.Buffered())
	}
	k.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(2 * bound))
	return conn
}

// echoText has a session echo a message.
func echoText(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if err := ws.WriteFrame(conn, ws.MaskFrameInPlace(ws.NewTextFrame([]byte(text)))); err != nil {
		t.Fatal(err)
	}
	f, err := readFrame(conn)
	if err != nil || string(f.Payload) != text {
		t.Fatalf("echo of %q: %q, %v", text, f.Payload, err)
	}
}

// event reads the payload of an event.
func event(t *testing.T, br *bufio.Reader) string {
	t.Helper()
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := strings.CutPrefix(line, "data: "); ok && strings.Contains(text, "<") {
			return strings.TrimSpace(text)
		}
	}
}

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

// expectClose reads a close frame, answers it, and reads the end of the stream.
func expectClose(t *testing.T, conn net.Conn, code ws.StatusCode) {
	t.Helper()
	f, err := readFrame(conn)
	if err != nil {
		t.Fatal(err)
	}
	if got, reason := ws.ParseCloseFrameData(f.Payload); f.Header.OpCode != ws.OpClose || got != code {
		t.Fatalf("frame %v with %q, %d %q: want close %d", f.Header, f.Payload, got, reason, code)
	}
	ws.WriteFrame(conn, ws.MaskFrameInPlace(ws.NewCloseFrame(f.Payload)))
	if b, err := io.ReadAll(conn); len(b) != 0 {
		t.Fatalf("%d bytes follow the close frame, %v", len(b), err)
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
