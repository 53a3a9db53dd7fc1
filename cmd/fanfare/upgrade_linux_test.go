package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"golang.org/x/sys/unix"

	"fanfare/cmd/fanfare/internal/upgrade"
)

// upgradeFault names the step at which a process of a test ends or stops: "kill-old-ready" for
// the old process at the step ready.
const upgradeFault = "TEST_UPGRADE_FAULT"

func init() {
	fault := os.Getenv(upgradeFault)
	if fault == "" {
		return
	}
	isNew := os.Getenv("FANFARE_UPGRADE_OF") != ""
	upgrade.AtStep = func(step upgrade.Step, sends bool) {
		who := "old"
		if isNew {
			who = "new"
		}
		switch verb, rest, _ := strings.Cut(fault, "-"); {
		case rest != who+"-"+string(step):
		case verb == "kill":
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		case verb == "stop" && sends:
			time.Sleep(time.Hour)
		}
	}
}

// subscribers are clients that note what they receive.
type subscribers struct {
	t     *testing.T
	all   []*subscriber
	ended atomic.Int32
}

type subscriber struct {
	conn net.Conn
	mu   sync.Mutex
	got  []string // guarded by mu
}

// subscribe opens n sessions of the topic t, half of them of fanfare.v1.
func subscribe(t *testing.T, p *process, n int) *subscribers {
	t.Helper()
	all := &subscribers{t: t}
	for i := range n {
		d := ws.Dialer{Timeout: bound}
		if i%2 == 1 {
			d.Protocols = []string{"fanfare.v1"}
		}
		conn, br, _, err := d.Dial(t.Context(), fmt.Sprintf("ws://%s/ws?user=u%d&topic=t", p.public, i))
		if err != nil {
			t.Fatal(err)
		}
		s := &subscriber{conn: conn}
		all.all = append(all.all, s)
		var r io.ReadWriter = conn
		if br != nil {
			r = struct {
				io.Reader
				io.Writer
			}{io.MultiReader(io.LimitReader(br, int64(br.Buffered())), conn), conn}
		}
		go func() {
			defer all.ended.Add(1)
			for {
				b, _, err := wsutil.ReadServerData(r)
				if err != nil {
					return
				}
				s.mu.Lock()
				s.got = append(s.got, string(b))
				s.mu.Unlock()
			}
		}()
	}
	t.Cleanup(func() {
		for _, s := range all.all {
			s.conn.Close()
		}
		waitFor(t, "the end of the readers", func() bool { return int(all.ended.Load()) == n })
	})
	return all
}

// verify waits until every subscriber has the pushes 0 to n-1, once and in order.
func (all *subscribers) verify(n int) {
	all.t.Helper()
	last := fmt.Sprintf("<%d>", n-1)
	for i, s := range all.all {
		has := func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.got) > 0 && strings.Contains(s.got[len(s.got)-1], last)
		}
		waitFor(all.t, fmt.Sprintf("push %d at subscriber %d", n-1, i), has)
		next := 0
		for _, text := range s.got {
			if strings.Contains(text, "hello") {
				continue
			}
			if !strings.Contains(text, fmt.Sprintf("<%d>", next)) {
				all.t.Fatalf("subscriber %d: got %q: want <%d>", i, text, next)
			}
			next++
		}
	}
	if ended := all.ended.Load(); ended != 0 {
		all.t.Fatalf("%d subscribers were disconnected", ended)
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(bound); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("did not happen: %s", what)
		}
	}
}

// pushPause is between two pushes of steadily. Without it they would occupy a processor for as long as upgrades, which
// mostly wait, take.
const pushPause = 5 * time.Millisecond

// steadily publishes <0>, <1>, … to the topic t until stop is called, which returns how many.
func steadily(t *testing.T, p *process, receivers int) (stop func() int) {
	quit, count := make(chan struct{}), make(chan int)
	go func() {
		client := http.Client{Timeout: bound}
		defer client.CloseIdleConnections()
		for i := 0; ; i++ {
			select {
			case <-quit:
				count <- i
				return
			case <-time.After(pushPause):
			}
			resp, err := client.Post("http://"+p.api+"/v1/topics/t/push", "text/plain", strings.NewReader(fmt.Sprintf("<%d>", i)))
			if err != nil {
				t.Errorf("push %d: %v", i, err)
				continue
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if want := fmt.Sprintf(`{"receivers":%d}`, receivers); resp.StatusCode != 200 || strings.TrimSpace(string(body)) != want {
				t.Errorf("push %d: status %d, %s: want %s", i, resp.StatusCode, body, want)
			}
		}
	}()
	return func() int { close(quit); return <-count }
}

// pushStored stores a message for a user without a session.
func pushStored(t *testing.T, p *process) {
	t.Helper()
	client := http.Client{Timeout: bound}
	defer client.CloseIdleConnections()
	resp, err := client.Post("http://"+p.api+"/v1/users/away/push?durable=true", "text/plain", strings.NewReader("stored"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		t.Fatalf("a durable push was answered %d, %s", resp.StatusCode, body)
	}
}

// startUpgradable starts a server with a store and a control socket.
func startUpgradable(t *testing.T, env []string, args ...string) (p *process, control string) {
	t.Helper()
	dir := t.TempDir()
	control = filepath.Join(dir, "c")
	p = startServerStoring(t, "", env, append([]string{"--data-dir", filepath.Join(dir, "data"), "--control", control}, args...)...)
	t.Cleanup(func() { // before that of p, which waits for the end of the log
		if pid := successorOf(t, control); pid != 0 && pid != p.cmd.Process.Pid {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return p, control
}

// endSuccessor ends a process that an upgrade has started.
func (p *process) endSuccessor(pid int) {
	p.t.Helper()
	syscall.Kill(pid, syscall.SIGTERM)
	waitFor(p.t, "the end of the new process", func() bool { return syscall.Kill(pid, 0) != nil })
}

// upgradedPID returns the process ID in the output of fanfare upgrade.
func upgradedPID(t *testing.T, r result) int {
	t.Helper()
	var pid int
	if _, err := fmt.Sscanf(r.stdout, "process %d,", &pid); err != nil || r.code != exitOK {
		t.Fatalf("fanfare upgrade: exit code %d, %q, %q", r.code, r.stdout, r.stderr)
	}
	return pid
}

// TestUpgrade replaces the process again and again, under a stream of pushes.
func TestUpgrade(t *testing.T) {
	p, control := startUpgradable(t, nil)
	const sessions = 60
	all := subscribe(t, p, sessions)
	stop := steadily(t, p, sessions)
	pushStored(t, p)
	var pid, descriptors int
	const upgrades = 6
	for i := range upgrades {
		r := runProgram(t, "", nil, "upgrade", "--control", control)
		last := pid
		if pid = upgradedPID(t, r); pid == last || !strings.Contains(r.stdout, fmt.Sprintf("has taken over %d connections", sessions)) {
			t.Fatalf("fanfare upgrade: %q", r.stdout)
		}
		pushStored(t, p)
		// The descriptors of the API's clients come and go.
		entries, _ := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/fd")
		if i == 1 {
			descriptors = len(entries)
		}
		if i > 1 && len(entries) > descriptors+3 {
			t.Errorf("upgrade %d: %d descriptors, after the second one %d", i+1, len(entries), descriptors)
		}
	}
	defer p.endSuccessor(pid)
	all.verify(stop())
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the first process: %v", err)
	}
}

// TestUpgradeOutlivesOldProcess kills the old process when the new one has the sessions.
func TestUpgradeOutlivesOldProcess(t *testing.T) {
	p, control := startUpgradable(t, []string{upgradeFault + "=kill-old-serve"})
	all := subscribe(t, p, 4)
	if r := runProgram(t, "", nil, "upgrade", "--control", control); r.code != exitFailure {
		t.Fatalf("exit code %d, %q, %q: want a failure, since no answer can come", r.code, r.stdout, r.stderr)
	}
	p.cmd.Wait()
	p.waitLog("serving")
	stop := steadily(t, p, 4)
	waitFor(t, "pushes by the new process", func() bool {
		all.all[0].mu.Lock()
		defer all.all[0].mu.Unlock()
		return len(all.all[0].got) > 3
	})
	all.verify(stop())
	var pid int
	waitFor(t, "the control socket of the new process", func() bool {
		pid = successorOf(t, control)
		return pid != 0
	})
	p.endSuccessor(pid)
}

// TestUpgradeOfABatch has a client of the API stream lines while the process is replaced: it
// gets an answer for each line that was served, and sends the others again.
func TestUpgradeOfABatch(t *testing.T) {
	p, control := startUpgradable(t, nil)
	all := subscribe(t, p, 2)
	next, upgraded := 0, false
	pid := 0
	for next < 40 {
		conn, err := net.Dial("tcp", p.api)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(bound))
		fmt.Fprintf(conn, "POST /v1/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n")
		br := bufio.NewReader(conn)
		answered := false
		for ; next < 40; next++ {
			line := fmt.Sprintf(`{"topics":["t"],"text":"<%d>"}`+"\n", next)
			if _, err := fmt.Fprintf(conn, "%x\r\n%s\r\n", len(line), line); err != nil {
				break
			}
			if !answered {
				resp, err := http.ReadResponse(br, nil)
				if err != nil || resp.StatusCode != 200 {
					break
				}
				br, answered = bufio.NewReader(resp.Body), true
			}
			text, err := br.ReadString('\n')
			if err != nil || strings.Contains(text, "shutting_down") {
				break // not served: it is sent again
			}
			if strings.TrimSpace(text) != `{"receivers":2}` {
				t.Fatalf("line %d was answered %q", next, text)
			}
			if next == 20 && !upgraded {
				upgraded = true
				pid = upgradedPID(t, runProgram(t, "", nil, "upgrade", "--control", control))
			}
		}
		conn.Close()
	}
	defer p.endSuccessor(pid)
	all.verify(40)
}

// TestUpgradeNotifies: the service manager is told which process the service is.
func TestUpgradeNotifies(t *testing.T) {
	n := newNotifications(t, filepath.Join(t.TempDir(), "notify"))
	p, _ := startUpgradable(t, []string{"NOTIFY_SOCKET=" + n.path})
	n.next("READY")
	p.signal(syscall.SIGUSR2)
	pid, err := strconv.Atoi(n.next("MAINPID")["MAINPID"])
	if err != nil || syscall.Kill(pid, 0) != nil {
		t.Fatalf("MAINPID is %d, %v", pid, err)
	}
	n.next("READY")
	p.endSuccessor(pid)
}

// successorOf returns the process that listens at the control socket.
func successorOf(t *testing.T, control string) int {
	t.Helper()
	c, err := net.Dial("unix", control)
	if err != nil {
		return 0
	}
	defer c.Close()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	pid := 0
	raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	return pid
}

// TestUpgradeFails has either process die, or stop, at each step.
func TestUpgradeFails(t *testing.T) {
	for _, fault := range []string{"kill-new-hello", "kill-new-ready", "kill-new-store", "stop-new-assembled", "kill-new-assembled"} {
		t.Run(fault, func(t *testing.T) {
			p, control := startUpgradable(t, []string{upgradeFault + "=" + fault}, "--upgrade-timeout=2s")
			const sessions = 6
			all := subscribe(t, p, sessions)
			stop := steadily(t, p, sessions)
			r := runProgram(t, "", nil, "upgrade", "--control", control)
			if r.code != exitFailure || !strings.Contains(r.stderr, "goes on as before") {
				t.Fatalf("exit code %d, %q, %q: want a failure", r.code, r.stdout, r.stderr)
			}
			if line := p.waitLog("upgrade failed, this process goes on"); line["err"] == nil {
				t.Error("the log does not say why")
			}
			all.verify(stop())
			pushStored(t, p) // the store is open again
			subscribe(t, p, 1)
			p.cmd.Process.Signal(syscall.SIGTERM)
			p.cmd.Wait()
		})
	}
}
