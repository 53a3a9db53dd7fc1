package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const webhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// backend is a webhook in this process.
type backend struct {
	*httptest.Server
	status atomic.Int32

	mu       sync.Mutex
	rejected int      // requests that were not answered with 200; guarded by mu
	events   []string // "type user" of the others, once for each id; guarded by mu
	seen     map[any]bool
	wrong    error // guarded by mu
}

func startBackend(t *testing.T) *backend {
	t.Helper()
	verifier, err := standardwebhooks.NewWebhook(webhookSecret)
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{seen: make(map[any]bool)}
	b.status.Store(200)
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var batch struct {
			Data struct{ Events []map[string]any }
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if err := verifier.Verify(body, r.Header); err != nil {
			b.wrong = err
		}
		if err := json.Unmarshal(body, &batch); err != nil {
			b.wrong = err
		}
		if status := int(b.status.Load()); status != 200 {
			b.rejected++
			w.WriteHeader(status)
			return
		}
		for _, e := range batch.Data.Events {
			if b.seen[e["id"]] {
				continue
			}
			b.seen[e["id"]] = true
			b.events = append(b.events, fmt.Sprint(e["type"], " ", e["user"]))
		}
	}))
	t.Cleanup(b.Close)
	return b
}

// wait waits until a condition holds with what the backend has received.
func (b *backend) wait(t *testing.T, ok func(events []string, rejected int) bool) []string {
	t.Helper()
	var got []string
	attempt(t, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		got = slices.Clone(b.events)
		return ok(got, b.rejected)
	})
	if b.mu.Lock(); b.wrong != nil {
		t.Error(b.wrong)
	}
	b.mu.Unlock()
	return got
}

func signingFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "webhook")
	if err := os.WriteFile(file, []byte(webhookSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestWebhookSurvivesKill: events that the backend has not accepted when the process is killed
// arrive after the restart, and so does the news that a user has not come back.
func TestWebhookSurvivesKill(t *testing.T) {
	b, secrets, dir := startBackend(t), signingFile(t), t.TempDir()
	args := []string{"--data-dir=" + dir, "--webhook=" + b.URL + "/hook user.* session.opened", "--webhook-secret-file=" + secrets, "--offline-grace=0s"}
	b.status.Store(503)
	p := startServer(t, nil, args...)
	p.connect("/ws?user=alice")
	b.wait(t, func(_ []string, rejected int) bool { return rejected > 1 }) // it is stored, and retried
	p.signal(syscall.SIGKILL)
	p.wait()
	b.status.Store(200)
	p = startServer(t, nil, args...)
	got := b.wait(t, func(events []string, _ int) bool { return slices.Contains(events, "user.offline alice") })
	if want := []string{"user.online alice", "session.opened alice", "user.offline alice"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, name := range []string{"fanfare_webhook_delivered_total 3", "fanfare_webhook_queue_batches 0", `fanfare_webhook_failed_total{class="5xx"} 0`} {
		attempt(t, func() bool { return strings.Contains(string(get(t, "http://"+p.api+"/metrics")), "\n"+name+"\n") })
	}
}

// TestWebhookCluster: one node reports for all who is online, and the others for one that is
// killed; a user who has sessions on two nodes is online once.
func TestWebhookCluster(t *testing.T) {
	nats := "127.0.0.1:" + freePorts(t, 1)[0]
	sh := newShell(t)
	sh.ports = strings.NewReplacer("127.0.0.1:4222", nats)
	_, port, _ := strings.Cut(nats, ":")
	if err := sh.start(start{"nats-server", []string{"--jetstream", "--store_dir", t.TempDir(), "--addr", "127.0.0.1", "--port", port}, sh.env}); err != nil {
		t.Fatal(err)
	}
	b, secrets := startBackend(t), signingFile(t)
	args := []string{"--nats=" + nats, "--webhook=" + b.URL + "/hook user.*", "--webhook-secret-file=" + secrets, "--offline-grace=0s"}
	first := startServer(t, nil, append(args, "--node-name=a")...)
	second := startServer(t, nil, append(args, "--node-name=b")...)
	first.connect("/ws?user=alice")
	first.connect("/ws?user=bob")
	second.connect("/ws?user=bob")
	b.wait(t, func(events []string, _ int) bool { return len(events) == 2 })
	first.signal(syscall.SIGKILL)
	first.wait()
	got := b.wait(t, func(events []string, _ int) bool { return len(events) == 3 })
	slices.Sort(got[:2])
	if want := []string{"user.online alice", "user.online bob", "user.offline alice"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if metrics := string(get(t, "http://"+second.api+"/metrics")); !strings.Contains(metrics, "\nfanfare_presence_leads 1\n") {
		t.Error("the node that is left does not lead")
	}
}

// TestWithoutWebhook: a start without webhooks says what an earlier one has left for them, and the
// next one with webhooks reports it.
func TestWithoutWebhook(t *testing.T) {
	b := startBackend(t)
	args := []string{"--data-dir=" + t.TempDir(), "--webhook=" + b.URL + "/hook message.unread", "--webhook-secret-file=" + signingFile(t)}
	p := startServer(t, nil, args...)
	req, err := http.NewRequest("POST", "http://"+p.api+"/v1/users/alice/push?durable=true&escalate=1h&id=m", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	p.signal(syscall.SIGTERM)
	p.wait()
	p = startServer(t, nil, args[0])
	found := false
	for _, line := range p.before {
		if msg, ok := line["msg"].(string); ok && strings.HasPrefix(msg, "no --webhook is given") {
			found = line["escalations"] == 1.0 && line["batches"] == 0.0
		}
	}
	if !found {
		t.Errorf("what waits is not logged: %v", p.before)
	}
	p.signal(syscall.SIGTERM)
	p.wait()
	p = startServer(t, nil, args...)
	if text := string(get(t, "http://"+p.api+"/metrics")); !strings.Contains(text, "fanfare_webhook_escalations_pending 1\n") ||
		!strings.Contains(text, "fanfare_webhook_escalations_untaken_total 0\n") {
		t.Error("the escalation does not wait")
	}
	for _, line := range startServer(t, nil, "--data-dir="+t.TempDir()).before {
		if msg, _ := line["msg"].(string); strings.Contains(msg, "webhook") {
			t.Errorf("in a new directory: %v", line)
		}
	}
}

// TestWebhookReload: SIGHUP changes events and secrets of webhooks; without any at the start
// it needs a restart.
func TestWebhookReload(t *testing.T) {
	b, secrets := startBackend(t), signingFile(t)
	config := filepath.Join(t.TempDir(), "config")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(fmt.Sprintf(`{"webhook": ["%s/a session.closed"], "webhook-secret-file": %q}`, b.URL, secrets))
	p := startServer(t, nil, "--config="+config)
	if w := p.warnings(); len(w) != 1 || !strings.HasPrefix(w[0]["msg"].(string), "events for webhooks are queued in memory") {
		t.Errorf("%v", w)
	}
	p.connect("/ws?user=a").Close()
	b.wait(t, func(events []string, _ int) bool { return slices.Equal(events, []string{"session.closed a"}) })
	write(fmt.Sprintf(`{"webhook": ["%s/a?token=hidden session.opened", "%[1]s/b nonsense"], "webhook-secret-file": %q}`, b.URL, secrets))
	p.signal(syscall.SIGHUP)
	if err := fmt.Sprint(p.waitLog("reload failed, nothing is changed")["err"]); !strings.Contains(err, `--webhook has the unknown event "nonsense"`) || strings.Contains(err, "hidden") {
		t.Error(err)
	}
	write(fmt.Sprintf(`{"webhook": ["%s/a?token=hidden session.opened"], "webhook-secret-file": %q}`, b.URL, secrets))
	p.signal(syscall.SIGHUP)
	if line := fmt.Sprint(p.waitLog("flag changed")); strings.Contains(line, "hidden") || !strings.Contains(line, "session.opened") {
		t.Error(line)
	}
	p.waitLog("reloaded")
	p.connect("/ws?user=b").Close()
	b.wait(t, func(events []string, _ int) bool {
		return slices.Equal(events, []string{"session.closed a", "session.opened b"})
	})
	p.signal(syscall.SIGTERM)
	if status := p.wait(); status.ExitStatus() != 0 {
		t.Errorf("exit code %d", status.ExitStatus())
	}
}

// TestWebhookFlags: combinations that would lie or have no effect are rejected in words.
func TestWebhookFlags(t *testing.T) {
	withoutRace(t)
	secrets := "--webhook-secret-file=" + signingFile(t)
	const hook = "--webhook=https://app.example.com/events/T0KEN"
	for _, tt := range []struct {
		args []string
		want string // empty: accepted
	}{
		{[]string{hook, secrets}, ""},
		{[]string{hook + " session.*", secrets, "--nats=nats://127.0.0.1:1", "--node-name=a"}, ""},
		{[]string{hook, secrets, "--offline-grace=0s"}, ""},
		{[]string{hook}, "--webhook needs --webhook-secret-file"},
		{[]string{hook, "--webhook-secret-file=/nonexistent"}, "--webhook-secret-file: open /nonexistent"},
		{[]string{secrets}, "--webhook-secret-file has no effect here: it needs --webhook"},
		{[]string{"--offline-grace=1s"}, "--offline-grace has no effect here: it needs --webhook"},
		{[]string{hook + " user.gone", secrets}, `--webhook has the unknown event "user.gone"`},
		{[]string{"--webhook=http://app.example.com/", secrets}, "--webhook-insecure-http is not set, and the webhook http://app.example.com is not on this machine"},
		{[]string{"--webhook=http://app.example.com/", secrets, "--webhook-insecure-http"}, ""},
		{[]string{hook, secrets, "--webhook-queue=1KiB"}, "--webhook-queue is 1024: want 1 MiB to 1 TiB"},
		{[]string{hook, secrets, "--webhook-age=1s"}, "--webhook-age is 1s"},
		{[]string{hook, secrets, "--offline-grace=48h"}, "--offline-grace is 48h0m0s"},
		{[]string{hook, secrets, "--webhook-ca=/nonexistent"}, "--webhook-ca cannot be read"},
		{[]string{hook + " session.*", secrets, "--nats=nats://127.0.0.1:1"}, "--webhook with --nats needs --node-name"},
		{[]string{hook, secrets, "--nats=nats://127.0.0.1:1", "--node-name=a"}, ""},
		{[]string{hook + " topic.vacated", secrets, "--nats=nats://127.0.0.1:1", "--node-name=a"}, ""},
	} {
		args := append([]string{"serve"}, tt.args...)
		if !strings.Contains(strings.Join(args, " "), "--nats") {
			args = append(args, "--data-dir="+t.TempDir())
		}
		var c cli
		_, err := parse(&c, args)
		if err == nil {
			_, err = c.Serve.Plan(slog.New(slog.DiscardHandler))
		}
		if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "T0KEN")) {
			t.Errorf("%q: %v, want %q", tt.args, err, tt.want)
		}
	}
}

// TestDocsReceiver runs the receiver of the document, which verifies signatures by code of
// its own.
func TestDocsReceiver(t *testing.T) {
	node := installed(t, "node", "nodejs")
	const file = "docs/webhooks.md"
	all, _ := blocks(file, document(t, file))
	i := slices.IndexFunc(all, func(b *block) bool { return b.lang == "js" })
	if i < 0 || strings.Count(all[i].text, "9000") != 1 {
		t.Fatal("the document has no receiver")
	}
	dir, port := t.TempDir(), freePorts(t, 1)[0]
	for name, text := range map[string]string{"receiver.mjs": strings.Replace(all[i].text, "9000", port, 1), "webhook-secrets": webhookSecret + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(node, "receiver.mjs")
	cmd.Dir = dir
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	url := "http://127.0.0.1:" + port + "/"
	attempt(t, func() bool { // until it listens
		r, _ := http.NewRequest("POST", url, strings.NewReader("{}"))
		r.Header.Set("webhook-id", "x")
		r.Header.Set("webhook-timestamp", fmt.Sprint(time.Now().Unix()))
		r.Header.Set("webhook-signature", "v1,AAAA")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return false
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s for a wrong signature", resp.Status)
		}
		return true
	})
	p := startServer(t, nil, "--webhook="+url, "--webhook-secret-file="+filepath.Join(dir, "webhook-secrets"))
	p.connect("/ws?user=alice&topic=news")
	var lines []string
	for in := bufio.NewScanner(out); len(lines) < 3 && in.Scan(); {
		lines = append(lines, in.Text())
	}
	if want := []string{"user.online alice", "topic.occupied news", "session.opened alice"}; !slices.Equal(lines, want) {
		t.Errorf("%q, want %q", lines, want)
	}
}
