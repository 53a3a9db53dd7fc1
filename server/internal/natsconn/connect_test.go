package natsconn

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"fanfare/server/internal/natstest"
)

// logs collects log lines.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logs) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// freePort returns a port on which nothing listens.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timeout: %s", what)
		}
	}
}

func TestConnectWithoutScheme(t *testing.T) {
	ns := natstest.Start(t, natsserver.Options{Username: "user", Password: "SECRET"})
	for _, url := range []string{ns.Addr().String(), "nats://" + ns.Addr().String()} {
		var log logs
		nc, err := Connect(Config{URL: strings.Replace("user:SECRET@"+url, "user:SECRET@nats://", "nats://user:SECRET@", 1),
			Name: "test", Logger: log.logger()}, Handlers{})
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if !nc.IsConnected() || nc.Opts.Name != "test" {
			t.Errorf("%s: status %v", url, nc.Status())
		}
		wait(t, "log line", func() bool { return strings.Contains(log.String(), "NATS connected") })
		if strings.Contains(log.String(), "SECRET") {
			t.Error(log.String())
		}
	}
}

// TestNATSComesLater: Connect returns without a server, says so, and the
// connection is there when the server is; also after an outage.
func TestNATSComesLater(t *testing.T) {
	port := freePort(t)
	var log logs
	connected := make(chan bool, 10)
	lost := make(chan error, 1000)
	began := time.Now()
	nc, err := Connect(Config{URL: fmt.Sprintf("nats://user:SECRET@127.0.0.1:%d", port), Role: "store", Logger: log.logger()}, Handlers{
		Connected: func(_ *nats.Conn, again bool) { connected <- again },
		Lost:      func(err error) { lost <- err },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if took := time.Since(began); took > startTimeout+5*time.Second {
		t.Errorf("Connect took %v", took)
	}
	if err := <-lost; err == nil || !strings.Contains(log.String(), "NATS unreachable") {
		t.Errorf("lost %v, logged %s", err, log.String())
	}
	if err := nc.Publish("x", nil); err == nil {
		t.Error("a publish without connection is buffered")
	}
	ns := natstest.Start(t, natsserver.Options{Port: port, Username: "user", Password: "SECRET"})
	if again := <-connected; again {
		t.Error("the first connection is taken for another one")
	}
	ns.Stop()
	wait(t, "loss", func() bool { return !nc.IsConnected() })
	ns.Start()
	if again := <-connected; !again {
		t.Error("the second connection is taken for the first")
	}
	for _, event := range []string{"NATS connected", "NATS disconnected", "NATS reconnected"} {
		wait(t, event, func() bool { return strings.Contains(log.String(), event) })
	}
	said := log.String()
	if strings.Contains(said, "SECRET") || strings.Contains(said, errStartTimeout.Error()) {
		t.Error(said)
	}
	for line := range strings.Lines(said) {
		if !strings.Contains(line, " connection=store ") {
			t.Errorf("the line does not name the connection: %s", line)
		}
	}
}

// TestSilentServers: a list of servers that accept and say nothing does not hold
// up the start for longer than a few attempts.
func TestSilentServers(t *testing.T) {
	var urls []string
	for range 12 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		urls = append(urls, l.Addr().String())
	}
	var log logs
	begin := time.Unix(1000, 0)
	var calls atomic.Int64
	now := func() time.Time { // Connect sets its deadline, and the first attempt begins; then the time is over
		if calls.Add(1) <= 2 {
			return begin
		}
		return begin.Add(startTimeout)
	}
	nc, err := connect(Config{URL: strings.Join(urls, ","), Logger: log.logger()}, Handlers{}, now)
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	if !strings.Contains(log.String(), errStartTimeout.Error()) {
		t.Errorf("the servers were tried one after another: %s", log.String())
	}
}

// TestStartDeadline: the attempts within Connect end with startTimeout, those after it
// do not.
func TestStartDeadline(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	begin := time.Unix(1000, 0)
	for _, test := range []struct {
		after   time.Duration
		started bool
		want    error
	}{
		{0, false, nil},
		{startTimeout - dialTimeout, false, nil},
		{startTimeout, false, errStartTimeout},
		{time.Hour, false, errStartTimeout},
		{time.Hour, true, nil},
	} {
		d := &dialer{now: func() time.Time { return begin.Add(test.after) }, until: begin.Add(startTimeout), traffic: new(Traffic)}
		d.started.Store(test.started)
		c, err := d.Dial("tcp", l.Addr().String())
		if err == nil {
			c.Close()
		}
		if err != test.want {
			t.Errorf("after %v, started %v: %v, want %v", test.after, test.started, err, test.want)
		}
	}
}

// TestPermanentErrors: a failure that retrying cannot cure is an error, which says what to
// do and contains no password.
func TestPermanentErrors(t *testing.T) {
	ns := natstest.Start(t, natsserver.Options{Username: "user", Password: "another"})
	at := ns.Addr().String()
	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(garbage, []byte("SECRET"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		cfg  Config
		want string
	}{
		"password":            {Config{URL: "user:SECRET@" + at}, "user:xxxxx@127.0.0.1"},
		"token":               {Config{URL: "nats://SECRET@" + at}, "nats://xxxxx@127.0.0.1"},
		"no password":         {Config{URL: at}, "check its credentials"},
		"URL":                 {Config{URL: "nats://user:SEC%RET@" + at}, "malformed"},
		"no credentials file": {Config{URL: at, Credentials: garbage + "x"}, "no such file"},
		"garbage credentials": {Config{URL: at, Credentials: garbage}, "not a credentials file"},
		"no CA":               {Config{URL: at, CA: garbage + "x"}, "no such file"},
		"garbage CA":          {Config{URL: at, CA: garbage}, "root certificate"},
		"Cert without Key":    {Config{URL: at, Cert: garbage}, "Cert and Key"},
		"garbage Cert":        {Config{URL: at, Cert: garbage, Key: garbage}, "PEM"},
	} {
		test.cfg.Logger = new(logs).logger()
		nc, err := Connect(test.cfg, Handlers{})
		if err == nil {
			nc.Close()
		}
		if said := fmt.Sprint(err); !strings.Contains(said, test.want) || strings.Contains(said, "SEC") {
			t.Errorf("%s: got %s, want %q", name, said, test.want)
		}
	}
}

func TestRepeated(t *testing.T) {
	var r repeated
	now := time.Now()
	for i, test := range []struct {
		text  string
		after time.Duration
		want  bool
	}{
		{"a", 0, true},
		{"a", time.Second, false},
		{"b", time.Second, true},
		{"a", 59 * time.Second, false},
		{"a", time.Minute, true},
		{"a", 61 * time.Second, false},
	} {
		if got := r.allow(test.text, now.Add(test.after)); got != test.want {
			t.Errorf("%d: %v", i, got)
		}
	}
	for i := range 3 * repeatedTexts {
		r.allow(fmt.Sprint(i), now)
	}
	if len(r.logged) > repeatedTexts {
		t.Errorf("%d texts are remembered", len(r.logged))
	}
}

// TestFailingConn: a connection does not survive a write that failed.
func TestFailingConn(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	c := failingConn{a, new(Traffic)}
	c.SetWriteDeadline(time.Now().Add(-time.Second))
	if _, err := c.Write([]byte("x")); err == nil {
		t.Fatal("the write succeeds")
	}
	c.SetDeadline(time.Time{})
	if _, err := b.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still open")
	}
}
