package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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
