package js_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"fanfare/server"
	"fanfare/server/inbox"
	"fanfare/server/store"
)

// page is a tab that shows what bob receives.
const page = `<!doctype html><title>bob</title><script src="/fanfare.min.js"></script><script>
const lines = [], state = {};
let unsubscribe;
const client = new fanfare.Client({
  url: "/ws", query: {user: "bob"}, user: "bob", shareTabs: true, store: fanfare.localStorageStore(), minDelay: 50, maxDelay: 200,
});
client.on("state", s => Object.assign(state, s));
client.on("gap", g => { lines.push("gap " + (g.topic ?? "inbox")); });
client.on("error", e => { if (e.kind !== "close" && e.kind !== "handshake") lines.push(e.kind); });
client.inbox(m => { lines.push(m.text); });
client.connect();
</script>`

// TestTabs: tabs share a socket, and one takes over from another that is closed or frozen.
func TestTabs(t *testing.T) {
	needBuild(t)
	silent := slog.New(slog.DiscardHandler)
	st, err := inbox.Open(t.Context(), inbox.Config{Dir: t.TempDir(), Logger: silent})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	script, err := os.ReadFile(filepath.Join(directory, "dist", "fanfare.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(server.Config{
		Listen: "127.0.0.1:0", Store: st, DurableTopics: []string{"scores.*"}, Logger: silent,
		Fallback: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/fanfare.min.js" {
				w.Header().Set("Content-Type", "text/javascript")
				w.Write(script)
				return
			}
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			io.WriteString(w, page)
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		srv.Shutdown(ctx)
	}()
	sessions := func(want int) {
		t.Helper()
		n := -1
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			if n = len(srv.Sessions(t.Context(), "bob").Sessions); n == want {
				return
			}
		}
		t.Fatalf("%d sessions, want %d", n, want)
	}
	push := func(text string) {
		t.Helper()
		if _, err := srv.PushStored(t.Context(), "bob", server.Entry{Op: server.Text, Payload: []byte(text)}); err != nil {
			t.Fatal(err)
		}
	}
	url := "http://" + srv.Addr().String() + "/"
	b := openBrowser(t)
	one := b.open(url)
	one.wait("state.state === 'open' && state.leader")
	two := b.open(url)
	two.wait("state.state === 'open' && !state.leader")
	sessions(1)
	push("to both")
	one.expect("to both")
	two.expect("to both")

	// A topic of the second tab, through the socket of the first.
	two.eval("unsubscribe = client.subscribe('scores.final', m => { lines.push(m.topic + ' ' + m.text); }); 0")
	for deadline := time.Now().Add(patience); two.eval("lines.includes('scores.final 2:1')") != "true"; time.Sleep(10 * time.Millisecond) {
		// A first-time subscriber receives what is published after the server has subscribed it.
		if _, err := srv.PublishStored(t.Context(), "scores.final", server.Entry{Op: server.Text, Payload: []byte("2:1")}); err != nil || time.Now().After(deadline) {
			t.Fatal("no message of the topic: ", err)
		}
	}
	two.eval("unsubscribe(); lines.length = 0")
	one.expect()

	// The leading tab is closed: the other one takes over, and nothing is lost or comes twice.
	one.close()
	push("after the close")
	two.wait("state.state === 'open' && state.leader")
	two.expect("after the close")
	sessions(1)
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		offset, _, err := st.Acked(t.Context(), store.Box{User: "bob"}, "bob")
		if err == nil && offset == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("acknowledged %d, %v", offset, err)
		}
	}

	// It is frozen.
	three := b.open(url)
	three.wait("state.state === 'open' && !state.leader")
	b.call(two.session, "Page.setWebLifecycleState", map[string]any{"state": "frozen"})
	three.wait("state.state === 'open' && state.leader")
	push("after the freeze")
	three.expect("after the freeze")
	b.call(two.session, "Page.setWebLifecycleState", map[string]any{"state": "active"})
	two.wait("state.state === 'open' && !state.leader")
	sessions(1)
	two.close()

	// The network is gone, and comes again.
	three.eval("lines.length = 0")
	network := func(offline bool) {
		b.call(three.session, "Network.emulateNetworkConditions", map[string]any{"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1})
	}
	b.call(three.session, "Network.enable", nil)
	network(true)
	srv.Disconnect(t.Context(), "bob", server.StatusServiceRestart, "restart")
	three.wait("state.state === 'offline' || state.state === 'waiting'")
	push("while offline")
	network(false)
	three.wait("state.state === 'open'")
	three.expect("while offline")
}
