package netpoll

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// startChild starts this binary as the child of that name. ask sends it a line and reads
// its answer.
func startChild(t *testing.T, name string, transport Transport, wrap ...string) (ask func(line string, into ...any), wait func() error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append(wrap, self)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), childEnv+"="+name, "NETPOLL_TEST_TRANSPORT="+transport.String(), "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	ask = func(line string, into ...any) {
		t.Helper()
		fmt.Fprintln(in, line)
		answer, err := lines.ReadString('\n')
		if err == nil {
			_, err = fmt.Sscan(answer, into...)
		}
		if err != nil {
			t.Fatalf("the child answers %q with %q, %v", line, answer, err)
		}
	}
	wait = func() error {
		in.Close()
		return cmd.Wait()
	}
	return ask, wait
}

// childEngine starts an engine that echoes, for a child.
func childEngine(log slog.Handler) (*Engine, string, error) {
	transport, err := ParseTransport(os.Getenv("NETPOLL_TEST_TRANSPORT"))
	if err != nil {
		return nil, "", err
	}
	e, err := New(Config{Transport: transport, Logger: slog.New(log)})
	if err != nil {
		return nil, "", err
	}
	if markChildren {
		e.UseMarks(MarksIn(make([]byte, 4096*MarkSize)))
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	addr := ln.Addr().String()
	return e, addr, e.Listen(ln, func(netip.AddrPort) (*Conn, Handler) {
		c := new(childConn)
		return &c.Conn, c
	})
}

type childConn struct{ Conn }

// markChildren has the engine of a child keep marks.
var markChildren bool

// secureChildren gives the connections of a child a Layer.
var secureChildren bool

func (c *childConn) Open(*Conn) {
	if secureChildren {
		if err := c.Secure(new(frames), new(Via)); err != nil {
			panic(err)
		}
	}
}

func (c *childConn) Data(_ *Conn, b []byte) int {
	c.WriteBorrowed(b, CloseOnFull)
	return len(b)
}

func (c *childConn) Close(*Conn, error) {}

// lineCounter is a log that counts its lines.
type lineCounter struct{ n atomic.Int64 }

func (l *lineCounter) Enabled(context.Context, slog.Level) bool  { return true }
func (l *lineCounter) Handle(context.Context, slog.Record) error { l.n.Add(1); return nil }
func (l *lineCounter) WithAttrs([]slog.Attr) slog.Handler        { return l }
func (l *lineCounter) WithGroup(string) slog.Handler             { return l }

func init() { children["starve"] = starveChild }

const starveLimit = 60 // descriptors of the child

func starveChild() error {
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: starveLimit, Max: starveLimit}); err != nil {
		return err
	}
	var log lineCounter
	e, addr, err := childEngine(&log)
	if err != nil {
		return err
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		switch in.Text() {
		case "addr":
			fmt.Println(addr)
		case "stats":
			harvests := e.batch.word.Load() >> 32
			fmt.Println(e.Opened(), e.Stats().Starved, log.n.Load(), harvests)
		case "poke": // as if descriptors became free and were used elsewhere
			for range 50 {
				before := e.stats.starved.Load()
				for e.stats.starved.Load() == before {
					e.retryAccept()
					time.Sleep(100 * time.Microsecond)
				}
			}
			fmt.Println("poked")
		}
	}
	return e.Close()
}

// Without free descriptors, open connections go on, others wait, and nothing spins.
func TestDescriptorsExhausted(t *testing.T) {
	for _, transport := range transports {
		t.Run(transport.String(), func(t *testing.T) {
			ask, wait := startChild(t, "starve", transport)
			r := &rig{TB: t, network: "tcp"}
			ask("addr", &r.addr)
			const all = starveLimit + 20
			conns := make([]net.Conn, all)
			for i := range conns {
				conns[i] = r.dial()
				must(t, conns[i], "x")
			}
			var open, starved, lines, harvests int
			stats := func() { t.Helper(); ask("stats", &open, &starved, &lines, &harvests) }
			eventually(t, "accepting stops", func() bool { stats(); return starved > 0 })
			if open < starveLimit/2 || open >= starveLimit {
				t.Fatalf("%d connections are open", open)
			}
			for _, nc := range conns[:open] {
				expect(t, nc, "x")
				must(t, nc, "served")
				expect(t, nc, "served")
			}
			if transport != Goroutine {
				var ok string
				ask("poke", &ok)
			}
			stats()
			began, from, before := time.Now(), starved, harvests
			eventually(t, "it tries again", func() bool { stats(); return starved >= from+4 })
			if took := time.Since(began); took < 3*acceptPause {
				t.Errorf("%d attempts in %v", starved-from, took)
			}
			if n := harvests - before; n > 10*(starved-from) {
				t.Errorf("the engine polled %d times for %d attempts", n, starved-from)
			}
			if lines != 1 {
				t.Errorf("%d lines in the log", lines)
			}
			served := conns[:open]
			for _, nc := range served[:10] { // there is room for the next ones
				nc.Close()
			}
			for _, nc := range conns[open : open+10] {
				expect(t, nc, "x")
			}
			for _, nc := range served[10:] {
				nc.Close()
			}
			for _, nc := range conns[open+10:] {
				expect(t, nc, "x")
				must(t, nc, "at last")
				expect(t, nc, "at last")
			}
			if stats(); lines != 1 {
				t.Errorf("%d lines in the log", lines)
			}
			if err := wait(); err != nil {
				t.Error(err)
			}
		})
	}
}
