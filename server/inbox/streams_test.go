package inbox

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"fanfare/server/inbox/internal/subject"
)

// natsCluster starts three, and returns their URL.
func natsCluster(t *testing.T) string {
	t.Helper()
	var routes []*url.URL
	var ports []int
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
		routes = append(routes, &url.URL{Scheme: "nats", Host: l.Addr().String()})
		l.Close()
	}
	var urls []string
	var all []*natsserver.Server
	for i, port := range ports {
		ns, err := natsserver.NewServer(&natsserver.Options{
			ServerName: fmt.Sprintf("n%d", i), Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 64 << 30,
			Cluster: natsserver.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: port},
			Routes:  routes,
		})
		if err != nil {
			t.Fatal(err)
		}
		ns.Start()
		t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
		all = append(all, ns)
	}
	for _, ns := range all {
		if !ns.ReadyForConnections(30 * time.Second) {
			t.Fatal("NATS does not start")
		}
		urls = append(urls, "nats://"+ns.Addr().String())
	}
	return strings.Join(urls, ",")
}

// TestTogether: nodes that start at the same time with a new cluster, some of whose
// requests JetStream does not answer. Timeout is so long that it would be noticed.
func TestTogether(t *testing.T) {
	cluster := natsCluster(t)
	const limit = 30 * time.Second
	began := time.Now()
	var opening sync.WaitGroup
	stores := make([]*Store, 6)
	for i := range stores {
		opening.Go(func() {
			s, err := Open(ctx, Config{URL: cluster, Replicas: 3, Timeout: time.Minute, Logger: quiet})
			if err != nil {
				t.Error(err)
				return
			}
			stores[i] = s
		})
	}
	opening.Wait()
	for _, s := range stores {
		if s == nil {
			continue
		}
		defer s.Close()
		for s.Ready() != nil && time.Since(began) < limit {
			time.Sleep(time.Millisecond)
		}
		if err := s.Ready(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("ready after %v", time.Since(began).Round(time.Millisecond))
	if t.Failed() {
		return
	}

	// A store without Replicas leaves the copies, and knows of them.
	s := open(t, Config{URL: cluster})
	for deadline := time.Now().Add(limit); s.Ready() != nil && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
	}
	found, err := s.link.Load().js.Stream(ctx, subject.Inbox.Stream())
	if err != nil {
		t.Fatal(err)
	}
	if got := found.CachedInfo().Config.Replicas; got != 3 || !s.replicated.Load() {
		t.Errorf("%d copies are left, and it knows of copies: %v", got, s.replicated.Load())
	}
}

// logged is what was logged.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logged) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Reset()
}

// TestOtherLimits: streams that were made with others are changed, which is logged,
// and keep other settings. The node that made them leaves the limits of one that
// started later.
func TestOtherLimits(t *testing.T) {
	at := outside(t, natsserver.Options{})
	var first logged
	s := open(t, Config{URL: at, Logger: first.logger()})
	put(t, s, user("u"), "kept")
	found, err := s.link.Load().js.Stream(ctx, subject.Inbox.Stream())
	if err != nil {
		t.Fatal(err)
	}
	sc := found.CachedInfo().Config
	sc.Description = "of the operator"
	if _, err := s.link.Load().js.UpdateStream(ctx, sc); err != nil {
		t.Fatal(err)
	}
	var log logged
	other := open(t, Config{URL: at, Disk: 2 << 30, Logger: log.logger()})
	if said := log.String(); !strings.Contains(said, "max_bytes: 4294967296 to 2147483648") || strings.Contains(said, "description") {
		t.Error(said)
	}
	for range 2 {
		if err := s.verifyStreams(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(first.String(), "limits changed by another node"); n != int(subject.Kinds) {
		t.Errorf("logged %d times: %s", n, first.String())
	}
	if found, err = other.link.Load().js.Stream(ctx, subject.Inbox.Stream()); err != nil {
		t.Fatal(err)
	}
	if sc := found.CachedInfo().Config; sc.Description != "of the operator" || sc.MaxBytes != 2<<30 {
		t.Errorf("got %+v", sc)
	}
	if got, _ := read(t, other, user("u"), 0); len(got) != 1 {
		t.Errorf("got %q", got)
	}
	log.reset()
	open(t, Config{URL: at, Disk: 2 << 30, Logger: log.logger()})
	if said := log.String(); strings.Contains(said, "changes") {
		t.Error(said)
	}
}

func TestChanges(t *testing.T) {
	a := jetstream.StreamConfig{Name: "x", MaxBytes: 1}
	b := jetstream.StreamConfig{Name: "x", MaxBytes: 2, Description: "d"}
	if got := fmt.Sprint(changes(a, b)); got != `[description: nothing to "d" max_bytes: 1 to 2]` {
		t.Error(got)
	}
	if got := fmt.Sprint(changes(b, a)); got != `[description: "d" to nothing max_bytes: 2 to 1]` {
		t.Error(got)
	}
	if got := changes(a, a); got != nil {
		t.Error(got)
	}
}

// TestWhatIsWrong: an outside NATS that cannot keep messages, or is not there, is
// described so that one knows what to do.
func TestWhatIsWrong(t *testing.T) {
	for _, test := range []struct {
		name  string
		at    func(t *testing.T) string
		cfg   Config
		opens bool
		want  []string
	}{
		{"no JetStream", func(t *testing.T) string { return "nats://" + startNATS(t, natsserver.Options{}) },
			Config{}, true, []string{"JetStream is not enabled", "-js"}},
		{"no room", func(t *testing.T) string {
			return outside(t, natsserver.Options{JetStreamMaxStore: 1 << 20})
		}, Config{Disk: 1 << 30}, true, []string{"twice Disk and Positions", "2112 MiB", "insufficient"}},
		{"one server", func(t *testing.T) string { return outside(t, natsserver.Options{}) },
			Config{Replicas: 3}, true, []string{"replicas > 1 not supported"}},
		{"wrong password", func(t *testing.T) string {
			return "nats://user:secret@" + startNATS(t, natsserver.Options{Username: "user", Password: "another"})
		}, Config{}, false, []string{"rejects this client", "user:xxxxx@127.0.0.1", "password in the URL", "Authorization Violation"}},
		{"may not ask", func(t *testing.T) string {
			return "nats://user:x@" + startNATS(t, natsserver.Options{JetStream: true, Users: []*natsserver.User{{Username: "user", Password: "x",
				Permissions: &natsserver.Permissions{Publish: &natsserver.SubjectPermission{Deny: []string{"$JS.API.>"}}}}}})
		}, Config{Timeout: 300 * time.Millisecond}, true, []string{"no answer from JetStream within 300ms", "permission"}},
		{"no server", func(*testing.T) string { return "nats://user:secret@127.0.0.1:1" }, // no NATS has a reserved port
			Config{}, true, []string{"no connection to NATS at nats://user:xxxxx@127.0.0.1:1"}},
		{"another scheme", func(*testing.T) string { return "nats://127.0.0.1:1,http://127.0.0.1:2" },
			Config{}, false, []string{`"http://127.0.0.1:2"`, "nats://host:4222"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := test.cfg
			cfg.URL, cfg.Logger = test.at(t), quiet
			s, err := Open(context.Background(), cfg)
			if (err == nil) != test.opens {
				t.Fatalf("opens: %v", err)
			}
			if s != nil {
				defer s.Close()
				err = s.Ready()
			}
			for _, want := range test.want {
				if !strings.Contains(fmt.Sprint(err), want) {
					t.Errorf("%v: want %q", err, want)
				}
			}
			if strings.Contains(fmt.Sprint(err), "secret") {
				t.Error(err)
			}
		})
	}
}
