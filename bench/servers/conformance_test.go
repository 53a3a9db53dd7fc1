package servers

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// catalog has the programs that TestMain builds.
var catalog Catalog

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "servers-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		build := func(name, from, pkg string) string {
			program := filepath.Join(dir, name)
			cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", program, pkg)
			cmd.Dir = from
			if out, err := cmd.CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "%s: %v\n%s", pkg, err, out)
				return ""
			}
			return program
		}
		catalog.Self = build("bench", "..", "./cmd/fanfare-bench")
		catalog.Fanfare = build("fanfare", "../..", "./cmd/fanfare")
		if catalog.Self == "" || catalog.Fanfare == "" {
			return 1
		}
		return m.Run()
	}())
}

// TestConformance runs the same checks on every server, with a client that is not ours. A server that passes can be
// measured.
func TestConformance(t *testing.T) {
	for _, spec := range catalog.All() {
		t.Run(spec.Name, func(t *testing.T) {
			t.Parallel()
			const ping = time.Second
			if spec.TLS {
				t.Run("TLS", func(t *testing.T) {
					s := startForTest(t, StartTLS, spec, ping)
					t.Run("echo", func(t *testing.T) { testEcho(t, s, 128<<10) })
					if spec.Pushes {
						t.Run("push", func(t *testing.T) { testPush(t, s) })
					}
				})
			}
			if spec.Proxy {
				return
			}
			s := startForTest(t, Start, spec, ping)
			t.Run("echo", func(t *testing.T) { testEcho(t, s, 128<<10) })
			t.Run("echo of fragments", func(t *testing.T) { testEcho(t, s, 1000) })
			t.Run("broadcast", func(t *testing.T) { testBroadcast(t, s) })
			if spec.Pushes {
				t.Run("push", func(t *testing.T) { testPush(t, s) })
				t.Run("heartbeat", func(t *testing.T) { testHeartbeat(t, s) })
			}
		})
	}
}

func startForTest(t *testing.T, start func(context.Context, Spec, time.Duration) (*Server, error), spec Spec, ping time.Duration) *Server {
	t.Helper()
	s, err := start(t.Context(), spec, ping)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Stop()
		if status := s.cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() && status.Signal() == syscall.SIGKILL {
			t.Error("the server ignores SIGTERM")
		}
	})
	return s
}

func dial(t *testing.T, s *Server, path string) *websocket.Conn {
	t.Helper()
	return dialWith(t, websocket.Dialer{}, s, path)
}

func dialWith(t *testing.T, d websocket.Dialer, s *Server, path string) *websocket.Conn {
	t.Helper()
	d.HandshakeTimeout = 10 * time.Second
	scheme := "ws://"
	if s.withTLS {
		scheme, d.TLSClientConfig = "wss://", &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true}
	}
	c, resp, err := d.DialContext(t.Context(), scheme+s.Listen.String()+path, http.Header{})
	if err != nil {
		t.Fatalf("%s: %v (%v)", path, err, resp)
	}
	t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	return c
}

// testEcho sends messages in frames of a bounded size.
func testEcho(t *testing.T, s *Server, frame int) {
	c := dialWith(t, websocket.Dialer{WriteBufferSize: frame}, s, "/echo")
	for _, kind := range []int{websocket.TextMessage, websocket.BinaryMessage} {
		for _, size := range []int{1, 40, 125, 126, 127, 4095, 4096, 65535, 65536, 70_000} {
			sent := bytes.Repeat([]byte("0123456789abcdef#"), size/17+1)[:size]
			if err := c.WriteMessage(kind, sent); err != nil {
				t.Fatal(err)
			}
			k, got, err := c.ReadMessage()
			if err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
			if k != kind || !bytes.Equal(got, sent) {
				t.Fatalf("%d bytes of kind %d came back as %d bytes of kind %d", size, kind, len(got), k)
			}
		}
	}
	// Three in one write: a server that reads one per event misses the others.
	for i := range 3 {
		if err := c.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, "message %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		if _, got, err := c.ReadMessage(); err != nil || string(got) != fmt.Sprintf("message %d", i) {
			t.Fatalf("message %d: %q, %v", i, got, err)
		}
	}
}

func await(t *testing.T, s *Server, sessions int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		stats, err := s.Stats(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if int(stats["sessions"]) == sessions {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the server counts %v sessions, not %d", stats["sessions"], sessions)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// expect reads messages from c and compares them, in order if the server keeps the order. Servers may send JSON with a
// trailing line feed.
func expect(t *testing.T, s *Server, c *websocket.Conn, want ...string) {
	t.Helper()
	var all []string
	for _, w := range want {
		_, got, err := c.ReadMessage()
		if err != nil {
			t.Fatalf("got %q, then %v; want %s", all, err, w)
		}
		all = append(all, strings.TrimSuffix(string(got), "\n"))
	}
	if s.Spec.Unordered {
		slices.Sort(all)
		slices.Sort(want)
	}
	if !slices.Equal(all, want) {
		t.Fatalf("got %q, want %q", all, want)
	}
}

func receivers(t *testing.T, want int) func(int, error) {
	return func(n int, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if n != want {
			t.Fatalf("%d receivers, not %d", n, want)
		}
	}
}

func testBroadcast(t *testing.T, s *Server) {
	await(t, s, 0) // some servers count echo connections, which may be ending
	var all []*websocket.Conn
	for i := range 3 {
		all = append(all, dial(t, s, fmt.Sprintf("/ws?user=u%d", i)))
	}
	await(t, s, 3)
	for i := range 3 {
		receivers(t, 3)(s.Broadcast(t.Context(), fmt.Appendf(nil, `"message %d"`, i)))
	}
	for _, c := range all {
		expect(t, s, c, `"message 0"`, `"message 1"`, `"message 2"`)
		c.Close()
	}
	await(t, s, 0)
}

func testPush(t *testing.T, s *Server) {
	a := dial(t, s, "/ws?user=a&topic=news&topic=sport")
	b := dial(t, s, "/ws?user=b&topic=news")
	await(t, s, 2)
	ctx := t.Context()
	receivers(t, 1)(s.PushUser(ctx, "a", []byte(`"to a"`)))
	receivers(t, 1)(s.PushUser(ctx, "b", []byte(`"to b"`)))
	receivers(t, 0)(s.PushUser(ctx, "c", []byte(`"to c"`)))
	receivers(t, 2)(s.PushTopic(ctx, "news", []byte(`"news"`)))
	receivers(t, 1)(s.PushTopic(ctx, "sport", []byte(`"sport"`)))
	receivers(t, 0)(s.PushTopic(ctx, "weather", []byte(`"weather"`)))
	receivers(t, 2)(s.Broadcast(ctx, []byte(`"all"`)))
	expect(t, s, a, `"to a"`, `"news"`, `"sport"`, `"all"`)
	expect(t, s, b, `"to b"`, `"news"`, `"all"`)
	a.Close()
	b.Close()
	await(t, s, 0)
}

// testHeartbeat waits for two pings: the second one shows that the server accepted the answer to the first.
// A server may close a connection whose client does not answer in time, as on a busy machine, so it connects again.
func testHeartbeat(t *testing.T, s *Server) {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		c := dial(t, s, "/ws?user=a")
		pings := 0
		answer := c.PingHandler()
		c.SetPingHandler(func(p string) error {
			if pings++; pings == 2 {
				return errTwoPings
			}
			return answer(p)
		})
		_, _, err := c.ReadMessage()
		c.Close()
		if errors.Is(err, errTwoPings) {
			return
		}
		t.Logf("%d pings, then %v", pings, err)
	}
	t.Error("no connection received two pings within a minute")
}

var errTwoPings = errors.New("two pings")
