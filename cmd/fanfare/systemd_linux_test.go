package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// notifications is the socket of a service manager, as NOTIFY_SOCKET names it.
type notifications struct {
	t    *testing.T
	conn *net.UnixConn
	path string
}

func newNotifications(t *testing.T, path string) *notifications {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetReadDeadline(time.Now().Add(bound))
	return &notifications{t, conn, path}
}

// next returns the assignments of the next message that has one of that name.
func (n *notifications) next(name string) map[string]string {
	n.t.Helper()
	buf := make([]byte, 4096)
	for {
		size, err := n.conn.Read(buf)
		if err != nil {
			n.t.Fatalf("no %s: %v", name, err)
		}
		values := make(map[string]string)
		for line := range strings.Lines(string(buf[:size])) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			values[key] = value
		}
		if _, ok := values[name]; ok {
			return values
		}
	}
}

func monotonic(t *testing.T) int64 {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	return now.Nano() / 1000
}

// TestNotify: the server notifies the service manager when it is ready, reloads, and stops.
func TestNotify(t *testing.T) {
	for _, abstract := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "notify")
		if abstract {
			path = "@fanfare-test-" + strconv.Itoa(os.Getpid())
		}
		n := newNotifications(t, path)
		p := startServer(t, []string{"NOTIFY_SOCKET=" + path}, "--drain-timeout=7s", "--drain-delay=10ms")
		if got := n.next("READY"); got["READY"] != "1" || got["STATUS"] != "serving 0 sessions" {
			t.Errorf("%v", got)
		}
		before := monotonic(t)
		p.signal(syscall.SIGHUP)
		got := n.next("RELOADING")
		usec, err := strconv.ParseInt(got["MONOTONIC_USEC"], 10, 64)
		if err != nil || usec < before || usec > monotonic(t) || got["RELOADING"] != "1" {
			t.Errorf("%v, not between %d and %d", got, before, monotonic(t))
		}
		if got := n.next("READY"); got["READY"] != "1" {
			t.Errorf("%v", got)
		}
		p.signal(syscall.SIGTERM)
		if got := n.next("STOPPING"); got["STOPPING"] != "1" || got["EXTEND_TIMEOUT_USEC"] != "22010000" {
			t.Errorf("%v", got)
		}
		if s := p.wait(); s.ExitStatus() != exitOK {
			t.Errorf("ended with %v", s)
		}
	}
}

// TestWatchdog: the watchdog is triggered again and again.
func TestWatchdog(t *testing.T) {
	n := newNotifications(t, filepath.Join(t.TempDir(), "notify"))
	p := startServer(t, []string{"NOTIFY_SOCKET=" + n.path, "WATCHDOG_USEC=2000000"})
	p.connect("/ws?user=alice")
	for range 2 {
		if got := n.next("WATCHDOG"); got["WATCHDOG"] != "1" || got["STATUS"] != "serving 1 sessions" {
			t.Errorf("%v", got)
		}
	}
}

// TestAnswers: a listener that accepts connections and does nothing with them does not
// answer, and one that rejects connections does.
func TestAnswers(t *testing.T) {
	p := startServer(t, nil)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close() // connections stay in its backlog
	rejecting, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer rejecting.Close()
	go func() {
		for c, err := rejecting.Accept(); err == nil; c, err = rejecting.Accept() {
			c.Close()
		}
	}()
	for _, test := range []struct {
		name, addr string
		within     time.Duration
		ok         bool
	}{
		{"public", p.public, bound, true}, {"API", p.api, bound, true}, {"rejecting", rejecting.Addr().String(), bound, true},
		{"silent", silent.Addr().String(), 50 * time.Millisecond, false},
	} {
		addr, err := net.ResolveTCPAddr("tcp", test.addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := answers(addr, test.within); (err == nil) != test.ok {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// activated is the program started as systemd does it: with sockets from descriptor 3 on,
// and LISTEN_PID.
func activated(t *testing.T, names string, sockets []net.Listener, args ...string) *exec.Cmd {
	t.Helper()
	cmd := command(t, []string{"LISTEN_FDS=" + strconv.Itoa(len(sockets)), "LISTEN_FDNAMES=" + names},
		append([]string{"serve", "--log-format=json", "--data-dir=none"}, args...)...)
	for _, s := range sockets {
		f, err := s.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	cmd.Args = append([]string{"sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = must(exec.LookPath("sh"))
	return cmd
}

func mustListen(t *testing.T, network, addr string) net.Listener {
	t.Helper()
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// TestActivation: both listeners may come from the service manager, by name, and their
// addresses decide what flags would.
func TestActivation(t *testing.T) {
	public, api := mustListen(t, "tcp", "127.0.0.1:0"), mustListen(t, "unix", filepath.Join(t.TempDir(), "api"))
	// A client that connects before the program runs is served by it.
	early, err := net.Dial("tcp", public.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	fmt.Fprintf(early, "GET /echo HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	p := startCommand(t, activated(t, "api:public", []net.Listener{api, public}, "--listen="+public.Addr().String()))
	if p.public != public.Addr().String() || p.api != "unix:"+api.Addr().String() {
		t.Errorf("listens on %s and %s", p.public, p.api)
	}
	early.SetDeadline(time.Now().Add(bound))
	answer := make([]byte, len("HTTP/1.1 101"))
	if _, err := early.Read(answer); err != nil || string(answer) != "HTTP/1.1 101" {
		t.Errorf("%q, %v", answer, err)
	}
	alice := p.connect("/ws?user=alice")
	if r := runProgram(t, "", nil, "push", "--api="+p.api, "alice", "hello"); r.stdout != "1\n" {
		t.Errorf("%+v", r)
	}
	if msg, _ := receive(t, alice); msg != "hello" {
		t.Errorf("received %q", msg)
	}
	p.signal(syscall.SIGHUP) // the addresses do not change
	if line := p.waitLog("reloaded"); len(line["changed"].([]any)) > 0 {
		t.Errorf("%v", line)
	}
}

// TestActivationOfOne: a single socket is the public one, whatever its name.
func TestActivationOfOne(t *testing.T) {
	public := mustListen(t, "tcp", "127.0.0.1:0")
	p := startCommand(t, activated(t, "fanfare.socket", []net.Listener{public}, "--api=127.0.0.1:0"))
	if p.public != public.Addr().String() {
		t.Errorf("listens on %s", p.public)
	}
	p.connect("/ws?user=alice")
}

func TestActivationErrors(t *testing.T) {
	withoutRace(t)
	first, second := mustListen(t, "tcp", "127.0.0.1:0"), mustListen(t, "tcp", "127.0.0.1:0")
	all := mustListen(t, "tcp", "0.0.0.0:0")
	for _, test := range []struct {
		name, names string
		sockets     []net.Listener
		args        []string
		want        string
	}{
		{"unknown name", "public:admin", []net.Listener{first, second}, nil, `socket "admin", descriptor 4, has an unknown name: want FileDescriptorName=public or api`},
		{"a name twice", "public:public", []net.Listener{first, second}, nil, `socket "public", descriptor 4, is the second of its name`},
		{"another address", "public", []net.Listener{first}, []string{"--listen=127.0.0.1:1"}, "--listen is 127.0.0.1:1, but the service manager has opened the public socket at " + first.Addr().String()},
		{"no token beyond loopback", "public", []net.Listener{all}, nil, "which is not loopback, and with --auth none"},
		{"no key beyond loopback", "api", []net.Listener{all}, nil, "which is not loopback: give --api-key-file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, err := activated(t, test.names, test.sockets, test.args...).CombinedOutput()
			if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != exitUsage || !strings.Contains(string(out), test.want) {
				t.Errorf("%v\n%s\nwant %q", err, out, test.want)
			}
		})
	}
}
