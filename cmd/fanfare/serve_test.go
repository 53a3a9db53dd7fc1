package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

func TestDrain(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			p := startServer(t, nil)
			var clients []net.Conn
			for range 10 {
				clients = append(clients, p.connect("/ws?user=alice"))
			}
			p.signal(sig)
			for _, c := range clients {
				// The reader of wsutil answers the close frame, as clients do.
				var closed wsutil.ClosedError
				if _, _, err := wsutil.ReadServerData(c); !errors.As(err, &closed) || closed.Code != ws.StatusGoingAway {
					t.Errorf("a client got %v, want 1001", err)
				}
			}
			if line := p.waitLog("draining"); line["sessions"] != 10.0 {
				t.Errorf("%v", line)
			}
			if line := p.waitLog("drained"); line["level"] != "INFO" {
				t.Errorf("%v", line)
			}
			if s := p.wait(); !s.Exited() || s.ExitStatus() != exitOK {
				t.Errorf("ended with %v", s)
			}
		})
	}
}

func TestDrainTimeoutCutsOff(t *testing.T) {
	p := startServer(t, nil, "--drain-timeout=200ms", "--close-timeout=1m")
	p.connect("/ws?user=alice") // reads nothing, answers nothing
	p.signal(syscall.SIGTERM)
	if line := p.waitLog("drained"); line["level"] != "WARN" || !strings.Contains(line["err"].(string), "1 connections did not close in time") {
		t.Errorf("%v", line)
	}
	if s := p.wait(); !s.Exited() || s.ExitStatus() != exitOK {
		t.Errorf("ended with %v", s)
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	p := startServer(t, nil, "--drain-timeout=10m", "--close-timeout=10m")
	p.connect("/ws?user=alice")
	p.signal(syscall.SIGTERM)
	p.waitLog("draining")
	p.signal(syscall.SIGTERM)
	if s := p.wait(); !s.Signaled() || s.Signal() != syscall.SIGTERM {
		t.Errorf("ended with %v", s)
	}
}

func TestKilledAndStartedAgain(t *testing.T) {
	p := startServer(t, nil)
	c := p.connect("/ws?user=alice")
	p.signal(syscall.SIGKILL)
	p.wait()
	if _, _, err := wsutil.ReadServerData(c); err == nil {
		t.Error("a client of a dead server is connected")
	}
	again := startServer(t, nil, "--listen="+p.public, "--api="+p.api)
	if again.public != p.public || again.api != p.api {
		t.Errorf("listens on %s and %s, want %s and %s", again.public, again.api, p.public, p.api)
	}
	again.connect("/ws?user=alice")
}

func TestUnixSocketsAndAgain(t *testing.T) {
	dir := t.TempDir()
	args := []string{"--listen=unix:" + dir + "/public", "--api=unix:" + dir + "/api"}
	p := startServer(t, nil, args...)
	p.signal(syscall.SIGKILL) // the sockets stay
	p.wait()
	p = startServer(t, nil, args...)
	if p.public != "unix:"+dir+"/public" {
		t.Errorf("listens on %s", p.public)
	}
	if r := runProgram(t, "", nil, "push", "--api", p.api, "alice", "x"); r.code != exitOK || r.stdout != "0\n" {
		t.Errorf("push: %+v", r)
	}
}

// TestSecondSignalWhileStarting: a second signal ends the process while it waits for the
// store. The NATS of this test accepts connections and sends nothing.
func TestSecondSignalWhileStarting(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	cmd := command(t, nil, "serve", "--listen=127.0.0.1:0", "--api=127.0.0.1:0", "--nats=nats://"+ln.Addr().String())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c, err := ln.Accept() // it is about to open the store
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for cmd.Process.Signal(syscall.SIGTERM) == nil {
		select {
		case <-ended:
		case <-again.C:
		}
	}
	<-ended
	if s := cmd.ProcessState.Sys().(syscall.WaitStatus); !s.Signaled() || s.Signal() != syscall.SIGTERM {
		t.Errorf("it ended with %v", cmd.ProcessState)
	}
}

func TestPortInUse(t *testing.T) {
	p := startServer(t, nil)
	for _, test := range []struct{ name, listen, api, at string }{
		{"public", p.public, "127.0.0.1:0", p.public},
		{"API", "127.0.0.1:0", p.api, p.api},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := runProgram(t, "", nil, "serve", "--data-dir=none", "--listen="+test.listen, "--api="+test.api)
			if want := "fanfare: cannot listen on " + test.at + ": address already in use; --listen and --api choose where\n"; r.code != exitFailure || r.stderr != want {
				t.Errorf("%+v, want %q", r, want)
			}
		})
	}
}

func TestEndpoints(t *testing.T) {
	p := startServer(t, nil)
	c := p.connect("/echo")
	if err := wsutil.WriteClientText(c, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if msg, op := receive(t, c); msg != "hello" || op != ws.OpText {
		t.Errorf("got %q, %v", msg, op)
	}
	p.connect("/ws?userId=alice&topic=a")
}

func TestCompression(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		want bool
	}{
		{"off by default", nil, false},
		{"offered", []string{"--compression"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := startServer(t, nil, test.args...)
			for _, path := range []string{"/ws?user=alice", "/echo"} {
				dialer := ws.Dialer{Extensions: []httphead.Option{{Name: []byte("permessage-deflate")}}}
				c, _, hs, err := dialer.Dial(t.Context(), "ws://"+p.public+path)
				if err != nil {
					t.Fatal(err)
				}
				c.Close()
				if got := len(hs.Extensions) == 1; got != test.want {
					t.Errorf("%s accepts %v", path, hs.Extensions)
				}
			}
		})
	}
}

func TestRuntimeFollowsTheEnvironment(t *testing.T) {
	p := startServer(t, []string{"GOMEMLIMIT=256MiB", "GOMAXPROCS=1"})
	limits, _ := p.serving["runtime"].(map[string]any)
	if limits["gomemlimit"] != 268435456.0 || limits["gomaxprocs"] != 1.0 {
		t.Errorf("the runtime has %v", limits)
	}
}

// TestDrainDelay: after SIGTERM a load balancer finds out first; until then clients are
// served.
func TestDrainDelay(t *testing.T) {
	p := startServer(t, nil, "--drain-delay=1s")
	begun := time.Now()
	p.signal(syscall.SIGTERM)
	p.waitLog("draining")
	for status, _ := p.get(p.api + "/readyz"); status != 503; status, _ = p.get(p.api + "/readyz") {
		if status != 200 { // the line precedes the change
			t.Fatalf("ready: %d", status)
		}
	}
	c, _, _, err := ws.Dial(t.Context(), "ws://"+p.public+"/ws?user=alice")
	if err == nil {
		defer c.Close()
		c.SetDeadline(time.Now().Add(bound))
		var closed wsutil.ClosedError
		if _, _, err := wsutil.ReadServerData(c); !errors.As(err, &closed) || closed.Code != ws.StatusGoingAway {
			t.Errorf("a new client got %v, want 1001", err)
		}
	} else if time.Since(begun) < time.Second {
		t.Errorf("a new client: %v", err)
	}
	if s := p.wait(); !s.Exited() || s.ExitStatus() != exitOK || time.Since(begun) < time.Second {
		t.Errorf("ended with %v after %v", s, time.Since(begun))
	}
}

// TestDescriptorLimit: a limit that is too low for production is logged, with what to do.
func TestDescriptorLimit(t *testing.T) {
	for _, test := range []struct {
		limit string
		args  []string
		msg   string
	}{
		{"64", nil, "few file descriptors"},
		{"1024", []string{"--max-connections=5000"}, "too few file descriptors for MaxConnections"},
		{"4096", nil, ""},
		{"512", []string{"--max-connections=100"}, ""},
	} {
		t.Run(test.limit+fmt.Sprint(test.args), func(t *testing.T) {
			p := startServer(t, []string{descriptorsEnv + "=" + test.limit}, test.args...)
			w := p.warnings()
			switch {
			case test.msg == "" && len(w) > 0, test.msg != "" && len(w) != 1:
				t.Errorf("warnings: %v", w)
			case test.msg != "" && (w[0]["msg"] != test.msg || !strings.Contains(fmt.Sprint(w[0]["advice"]), "ulimit -n")):
				t.Errorf("%v", w[0])
			}
		})
	}
}

func TestSocketMode(t *testing.T) {
	dir := t.TempDir()
	p := startServer(t, nil, "--listen=unix:"+dir+"/public?mode=0606", "--api=unix:"+dir+"/api?mode=0600")
	for name, want := range map[string]os.FileMode{"public": 0o606, "api": 0o600} {
		if info, err := os.Stat(dir + "/" + name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if p.public != "unix:"+dir+"/public" || p.api != "unix:"+dir+"/api" {
		t.Errorf("the log names %s and %s", p.public, p.api)
	}
	// The client takes the address as the server does.
	if r := runProgram(t, "", nil, "push", "--api=unix:"+dir+"/api?mode=0600", "alice", "x"); r.code != exitOK || r.stdout != "0\n" {
		t.Errorf("%+v", r)
	}
}
