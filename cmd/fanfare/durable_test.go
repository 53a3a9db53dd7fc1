package main

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"github.com/nats-io/nats-server/v2/server"
)

// TestDamagedStore: a store from which messages are missing keeps the server from
// starting, unless the operator accepts that; then it is logged.
func TestDamagedStore(t *testing.T) {
	dir := t.TempDir()
	p := startServer(t, nil, "--data-dir="+dir, "--inbox-sync=always")
	p.durable("alice", 5, strings.Repeat("x", 100))
	p.signal(syscall.SIGKILL)
	p.wait()
	damage(t, dir)
	args := []string{"serve", "--listen=127.0.0.1:0", "--api=127.0.0.1:0", "--data-dir=" + dir}
	r := runProgram(t, "", nil, args...)
	if r.code != exitFailure || !strings.Contains(r.stderr, "--inbox-accept-loss goes on without what is missing") || !strings.Contains(r.stderr, dir) {
		t.Fatalf("%+v", r)
	}
	p = startServer(t, nil, "--data-dir="+dir, "--inbox-accept-loss")
	if len(p.warnings()) == 0 {
		t.Error("the loss is not logged")
	}
}

// durable stores n messages for a user.
func (p *process) durable(user string, n int, data string) {
	p.t.Helper()
	for range n {
		body := `{"users":["` + user + `"],"durable":true,"data":"` + data + `"}`
		c := client{API: p.api, Timeout: bound}
		if _, err := c.do("POST", []string{"push"}, "application/json", []byte(body)); err != nil {
			p.t.Fatal(err)
		}
	}
}

// damage overwrites some bytes in the block of messages of inboxes.
func damage(t *testing.T, dir string) {
	t.Helper()
	damaged := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".blk") || !strings.Contains(path, "FANFARE_INBOX") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || len(b) < 310 {
			return err
		}
		damaged++
		copy(b[300:], "DAMAGED")
		return os.WriteFile(path, b, 0o600)
	})
	if err != nil || damaged == 0 {
		t.Fatalf("%d files damaged, %v", damaged, err)
	}
}

// TestSmallerDisk: with a limit below what is stored the program says which flag is
// meant, what is stored, and what to do.
func TestSmallerDisk(t *testing.T) {
	dir := t.TempDir()
	p := startServer(t, nil, "--data-dir="+dir, "--inbox-bytes=4M")
	p.durable("alice", 6, strings.Repeat("x", 300_000))
	p.signal(syscall.SIGTERM)
	p.wait()
	r := runProgram(t, "", nil, "serve", "--listen=127.0.0.1:0", "--api=127.0.0.1:0", "--data-dir="+dir, "--inbox-disk=1MiB")
	for _, want := range []string{"--inbox-disk is 1048576: 6 messages of ", "want at least ", "or --inbox-disk-full drop-oldest to remove the oldest"} {
		if r.code != exitUsage || !strings.Contains(r.stderr, want) {
			t.Errorf("%+v, want %q", r, want)
		}
	}
	startServer(t, nil, "--data-dir="+dir, "--inbox-disk=1MiB", "--inbox-disk-full=drop-oldest")
	startServer(t, nil, "--data-dir="+t.TempDir(), "--inbox-disk=1MiB")
}

// TestFewerMessages: with a limit below what one user has not read the program removes nothing and
// says what to do, or says what it removes.
func TestFewerMessages(t *testing.T) {
	dir := t.TempDir()
	p := startServer(t, nil, "--data-dir="+dir)
	p.durable("alice", 6, "x")
	p.durable("bob", 2, "x")
	p.signal(syscall.SIGTERM)
	p.wait()
	r := runProgram(t, "", nil, "serve", "--listen=127.0.0.1:0", "--api=127.0.0.1:0", "--data-dir="+dir, "--inbox-messages=2", "--inbox-full=reject")
	want := "--inbox-messages is 2: 4 unread messages of 1 users are beyond it; want a greater limit, or --inbox-full drop-oldest to remove the oldest"
	if r.code != exitUsage || !strings.Contains(r.stderr, want) {
		t.Errorf("%+v, want %q", r, want)
	}
	p = startServer(t, nil, "--data-dir="+dir, "--inbox-messages=2")
	removed := 0
	for _, line := range p.before {
		if line["msg"] == "stored messages removed at a lower limit" {
			removed++
			if line["limit"] != "--inbox-messages" || line["messages"] != 4.0 || line["unread"] != 4.0 || line["users"] != 1.0 {
				t.Errorf("logged %v", line)
			}
		}
	}
	if removed != 1 {
		t.Errorf("%d lines say what is removed: %v", removed, p.before)
	}
}

// TestEmbeddedStoreNamesNoNATS: no line of the log names what does not exist.
func TestEmbeddedStoreNamesNoNATS(t *testing.T) {
	p := startServer(t, nil, "--data-dir="+t.TempDir(), "--log-level=debug")
	p.durable("alice", 3, "x")
	p.signal(syscall.SIGTERM)
	lines := p.before
	for line := range p.lines {
		lines = append(lines, line)
	}
	if len(lines) < 3 {
		t.Fatalf("found only %v", lines)
	}
	for _, line := range lines {
		for _, v := range line {
			if s, ok := v.(string); ok && (strings.Contains(s, "nats://") || strings.Contains(s, "NATS")) {
				t.Errorf("%v", line)
			}
		}
	}
}

// TestPlainAck: whether a pong acknowledges.
func TestPlainAck(t *testing.T) {
	for _, mode := range []string{"pong", "none"} {
		t.Run(mode, func(t *testing.T) {
			p := startServer(t, nil, "--data-dir="+t.TempDir(), "--plain-ack="+mode, "--close-timeout=1s", "--ping-interval=1s")
			p.durable("alice", 1, "xxx")
			c := p.connect("/ws?user=alice")
			if msg, _ := receive(t, c); !strings.Contains(msg, "xxx") {
				t.Fatalf("received %q", msg)
			}
			// A client answers every ping, with its payload.
			answered := make(chan struct{}, 1)
			go func() {
				for {
					f, err := readFrame(c)
					if err != nil {
						return
					}
					if f.Header.OpCode != ws.OpPing {
						continue
					}
					if wsutil.WriteClientMessage(c, ws.OpPong, f.Payload) != nil {
						return
					}
					select {
					case answered <- struct{}{}:
					default:
					}
				}
			}()
			select {
			case <-answered:
			case <-time.After(bound):
				t.Fatal("no ping")
			}
			// The next session is sent the message again unless it was acknowledged, which
			// is stored a moment later.
			redelivered := func(within time.Duration) bool {
				d := p.connect("/ws?user=alice")
				defer d.Close()
				d.SetReadDeadline(time.Now().Add(within))
				for {
					f, err := readFrame(d)
					if err != nil || f.Header.OpCode == ws.OpText {
						return err == nil
					}
				}
			}
			if mode == "none" {
				if !redelivered(bound) {
					t.Error("a pong acknowledged the message")
				}
				return
			}
			for deadline := time.Now().Add(bound); redelivered(500 * time.Millisecond); {
				if time.Now().After(deadline) {
					t.Fatal("the pong acknowledged nothing")
				}
			}
		})
	}
}

// natsServer runs a NATS server with JetStream, and room for its streams however full the disk is.
func natsServer(t *testing.T, change ...func(*server.Options)) *server.Server {
	t.Helper()
	opts := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: roomForStreams, NoSigs: true, NoLog: true}
	for _, f := range change {
		f(opts)
	}
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(bound) {
		t.Fatal("NATS does not start")
	}
	return s
}

// TestNATSWithoutScheme: the address alone is enough.
func TestNATSWithoutScheme(t *testing.T) {
	addr := natsServer(t).Addr().String()
	p := startServer(t, nil, "--nats="+addr)
	p.durable("alice", 1, "xxx")
	c := p.connect("/ws?user=alice")
	if msg, _ := receive(t, c); !strings.Contains(msg, "xxx") {
		t.Errorf("received %q", msg)
	}
	if p.serving["data_dir"] != "" {
		t.Errorf("the log says that messages are in %v", p.serving["data_dir"])
	}
}

// TestLongerThanNATSAccepts: a message that NATS does not accept gets 413 with the
// limit, and the log says so, and what to set, before anything is pushed.
func TestLongerThanNATSAccepts(t *testing.T) {
	p := startServer(t, nil, "--nats="+natsServer(t).Addr().String())
	var said map[string]any
	for _, line := range p.before {
		if line["max_payload"] != nil {
			said = line
		}
	}
	// It is not a warning, because no flag asks for longer ones.
	if said["level"] != "INFO" || said["max_payload"] != 1048576.0 || said["want"] != 1052672.0 || said["longest"] != 1044480.0 {
		t.Errorf("logged %v", p.before)
	}
	url := p.api + "/v1/users/alice/push?durable=true"
	if status, body := p.request("POST", url, strings.Repeat("x", 1044480)); status != 200 {
		t.Errorf("longest: %d %s", status, body)
	}
	status, body := p.request("POST", url, strings.Repeat("x", 1044481))
	if status != 413 || !strings.Contains(body, "at most 1044480 can be stored while max_payload of NATS is 1048576") {
		t.Errorf("longer: %d %s", status, body)
	}
}

// TestReadyWithoutNATS: a load balancer sends clients to a server whose NATS is away, unless
// the operator says otherwise; monitoring sees the difference.
func TestReadyWithoutNATS(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") // nothing is at its address afterwards
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	for _, test := range []struct {
		args  []string
		ready int
	}{{nil, 200}, {[]string{"--ready-needs-store"}, 503}} {
		p := startServer(t, nil, append(test.args, "--nats="+ln.Addr().String())...)
		if len(p.warnings()) == 0 {
			t.Error("it starts degraded and says nothing")
		}
		if status, body := p.get(p.api + "/readyz"); status != test.ready || !strings.Contains(body, "NATS") {
			t.Errorf("ready: %d %s", status, body)
		}
		if status, _ := p.get(p.api + "/healthz?strict"); status != 503 {
			t.Errorf("strict health: %d", status)
		}
		if status, _ := p.get(p.api + "/healthz"); status != 200 {
			t.Errorf("health: %d", status)
		}
		c := p.connect("/ws?user=alice")
		if r := runProgram(t, "", nil, "push", "--api="+p.api, "alice", "live"); r.code != exitOK {
			t.Errorf("%+v", r)
		}
		if msg, _ := receive(t, c); msg != "live" {
			t.Errorf("received %q", msg)
		}
		c.Close()
	}
}
