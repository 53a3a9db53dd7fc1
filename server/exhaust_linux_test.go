package server

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fanfare/netpoll"
)

// few is how many descriptors the child may open.
const few = 100

// TestDescriptorsRunOut starts a server in a process of its own, which has few
// descriptors, and more clients than those.
func TestDescriptorsRunOut(t *testing.T) {
	if transport := os.Getenv("FANFARE_TEST_FEW"); transport != "" {
		serveWithFew(t, transport)
		return
	}
	overTransports(t, func(t *testing.T, transport netpoll.Transport) {
		child := exec.Command(os.Args[0], "-test.run=^TestDescriptorsRunOut$")
		child.Env = append(os.Environ(), "FANFARE_TEST_FEW="+transport.String())
		log := new(logBuffer)
		child.Stderr = log
		stdin, err := child.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		defer child.Wait()
		defer stdin.Close() // which ends it
		addr, err := bufio.NewReader(stdout).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		join := func() *client {
			nc, err := net.Dial("tcp", strings.TrimSpace(addr))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { nc.Close() })
			nc.SetDeadline(time.Now().Add(30 * time.Second))
			c := &client{Conn: nc, t: t, br: bufio.NewReader(nc)}
			c.say(request())
			return c
		}
		echo := func(c *client) {
			c.send(Text, "hello")
			c.want(Text, "hello")
		}

		var served []*client
		for range few / 2 {
			c := join()
			c.answer()
			served = append(served, c)
		}
		var waiting []*client
		for range few {
			waiting = append(waiting, join())
		}
		await(t, "the child has no descriptor left", func() bool { return log.count("accept failed") > 0 })

		// Connected sessions are served as before. That nothing spins meanwhile
		// is tested in netpoll.
		for range 10 {
			for _, c := range served {
				echo(c)
			}
		}

		// When some close, waiting connections are accepted.
		for _, c := range served[1:] {
			c.Close()
		}
		for _, c := range waiting[:few/2] {
			if resp := c.answer(); resp.StatusCode != 101 {
				t.Fatalf("status %d", resp.StatusCode)
			}
			echo(c)
		}
		echo(served[0])
		if n := log.count("accept failed"); n != 1 {
			t.Errorf("%d lines are logged", n)
		}
	})
}

// serveWithFew is the child: it serves until its input ends.
func serveWithFew(t *testing.T, transport string) {
	k, err := netpoll.ParseTransport(transport)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := New(Config{Transport: k, Listen: "127.0.0.1:0", MaxConnections: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	limit := unix.Rlimit{Cur: few, Max: few}
	if err := unix.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	fmt.Println(srv.Addr())
	bufio.NewReader(os.Stdin).ReadByte()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	srv.Shutdown(ctx)
}
