package main

import (
	"bufio"
	"context"
	"encoding/json"
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
	serving     map[string]any      // the line that says where it listens
	public, api string              // addresses, HOST:PORT
}

// bound is for what takes milliseconds, on a machine that does a lot besides.
const bound = 30 * time.Second

// startServer starts fanfare serve on free ports and waits until it serves.
func startServer(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	args = append([]string{"serve", "--listen=127.0.0.1:0", "--api=127.0.0.1:0", "--log-format=json", "--data-dir=none"}, args...)
	p := &process{t: t, cmd: command(t, env, args...), lines: make(chan map[string]any, 1000)}
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
	go func() {
		defer close(p.lines)
		defer r.Close()
		for s := bufio.NewScanner(r); s.Scan(); {
			var line map[string]any
			if json.Unmarshal(s.Bytes(), &line) != nil {
				line = map[string]any{"msg": s.Text()}
			}
			p.lines <- line
		}
	}()
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

// address is HOST:PORT of a URL in the log.
func address(url any) string {
	s, _ := url.(string)
	return strings.TrimSuffix(strings.TrimPrefix(s, "http://"), "/")
}

// waitLog returns the next line with this message.
func (p *process) waitLog(msg string) map[string]any {
	p.t.Helper()
	var seen []any
	for line := range p.lines {
		if line["msg"] == msg {
			return line
		}
		seen = append(seen, line)
	}
	p.t.Fatalf("ended without saying %q, but %v", msg, seen)
	return nil
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
	if buffered != nil {
		p.t.Fatal("something came with the handshake's answer")
	}
	c.SetDeadline(time.Now().Add(bound))
	return c
}

// receive returns the next message.
func receive(t *testing.T, c net.Conn) (string, ws.OpCode) {
	t.Helper()
	msg, op, err := wsutil.ReadServerData(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(msg), op
}
