package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// process is a running fanfare serve.
type process struct {
	t           *testing.T
	cmd         *exec.Cmd
	lines       chan map[string]any // of its log, until it ends
	before      []map[string]any    // those before it served
	serving     map[string]any      // the line that says where it listens
	public, api string              // addresses, HOST:PORT
}

// bound is for what takes milliseconds, on a busy machine.
const bound = 30 * time.Second

// startServer starts fanfare serve on free ports and waits until it serves.
func startServer(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	return startServerIn(t, "", env, args...)
}

// startServerIn starts it in a working directory.
func startServerIn(t *testing.T, dir string, env []string, args ...string) *process {
	t.Helper()
	return startServerStoring(t, dir, env, append([]string{"--data-dir=none"}, args...)...)
}

// startServerStoring starts it with the default --data-dir.
func startServerStoring(t *testing.T, dir string, env []string, args ...string) *process {
	t.Helper()
	args = append([]string{"serve", "--listen=127.0.0.1:0", "--api=127.0.0.1:0", "--log-format=json"}, args...)
	cmd := command(t, env, args...)
	cmd.Dir = dir
	return startCommand(t, cmd)
}

// startCommand starts a command that is fanfare serve.
func startCommand(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, lines: make(chan map[string]any, 1000)}
	// A pipe of our own: that of StderrPipe is closed by Wait, and may lose the end.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stderr = w
	err = p.cmd.Start()
	w.Close()
	if err != nil {
		r.Close()
		t.Fatal(err)
	}
	go p.readLog(r)
	overdue := time.AfterFunc(2*bound, func() { p.cmd.Process.Kill() })
	t.Cleanup(func() {
		overdue.Stop()
		p.cmd.Process.Kill()
		p.cmd.Wait()
		for range p.lines {
		}
	})
	p.serving = p.waitLog("serving")
	p.public = address(p.serving["listen"])
	p.api = address(p.serving["api"])
	return p
}

// readLog reads the log until its end.
func (p *process) readLog(r io.ReadCloser) {
	defer close(p.lines)
	defer r.Close()
	for s := bufio.NewScanner(r); s.Scan(); {
		var line map[string]any
		if json.Unmarshal(s.Bytes(), &line) != nil {
			line = map[string]any{"msg": s.Text()}
		}
		p.lines <- line
	}
}

// address is HOST:PORT of a URL in the log, or unix:PATH.
func address(url any) string {
	s, _ := url.(string)
	if _, host, ok := strings.Cut(s, "://"); ok {
		return strings.TrimSuffix(host, "/")
	}
	return s
}

// waitLog returns the next line with this message.
func (p *process) waitLog(msg string) map[string]any {
	p.t.Helper()
	var seen []map[string]any
	for line := range p.lines {
		if line["msg"] == msg {
			if msg == "serving" {
				p.before = seen
			}
			return line
		}
		seen = append(seen, line)
	}
	p.t.Fatalf("ended without saying %q, but %v", msg, seen)
	return nil
}

// warnings are those that it logged before it served.
func (p *process) warnings() (w []map[string]any) {
	for _, line := range p.before {
		if line["level"] == "WARN" || line["level"] == "ERROR" {
			w = append(w, line)
		}
	}
	return w
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// wait returns how it ended.
func (p *process) wait() syscall.WaitStatus {
	p.t.Helper()
	p.cmd.Wait()
	return p.cmd.ProcessState.Sys().(syscall.WaitStatus)
}

// connect opens a WebSocket.
func (p *process) connect(path string) net.Conn {
	p.t.Helper()
	c, buffered, _, err := ws.Dial(context.Background(), "ws://"+p.public+path)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(bound))
	if buffered != nil { // frames have followed the answer at once
		return bufferedConn{c, buffered}
	}
	return c
}

type bufferedConn struct {
	net.Conn
	buffered io.Reader
}

func (c bufferedConn) Read(p []byte) (int, error) { return c.buffered.Read(p) }

// receive returns the next message.
func receive(t *testing.T, c net.Conn) (string, ws.OpCode) {
	t.Helper()
	c.SetDeadline(time.Now().Add(bound)) // the test may have started programs meanwhile
	msg, op, err := wsutil.ReadServerData(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(msg), op
}
