package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/gobwas/ws"
)

// TestConnectHookPlan: what is wrong with the flags is an error of serve, check and reload.
func TestConnectHookPlan(t *testing.T) {
	withoutRace(t)
	testHookPlan(t, "connect-hook", []string{"--auth=hook"}, func(url, key string) []hookPlan {
		return []hookPlan{
			{nil, "--auth hook needs --connect-hook"},
			{[]string{url, key, "--connect-hook-headers=Authorization,X-One", "--connect-hook-cookies=a", "--connect-hook-query=b", "--connect-hook-failure=anonymous"}, ""},
			{[]string{url, key, "--connect-hook-cookies=a b"}, `--connect-hook-cookies has "a b", which is not a name`},
			{[]string{url, key, "--jwt-issuer=x"}, "--jwt-issuer has no effect here: it needs --auth jwt"},
			{[]string{url, key, "--auth=jwt"}, "it needs --auth hook"},
		}
	})
}

// TestConnectHook: the backend decides who connects, and a reload changes which.
func TestConnectHook(t *testing.T) {
	backend := func(user string, asked *atomic.Int64) *httptest.Server {
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			body, err := io.ReadAll(r.Body)
			if err != nil || r.Header.Get("Webhook-Signature") == "" {
				t.Errorf("%v, %v", err, r.Header)
			}
			if !strings.Contains(string(body), `"cookies":{"session":"good"}`) {
				io.WriteString(w, `{"reject":{"status":401,"text":"log in first"}}`)
				return
			}
			fmt.Fprintf(w, `{"user":%q,"topics":["news"]}`, user)
		}))
		t.Cleanup(web.Close)
		return web
	}
	var first, second atomic.Int64
	one, two := backend("alice", &first), backend("bob", &second)
	dir := t.TempDir()
	write := func(url string) {
		t.Helper()
		text := fmt.Sprintf(`{"auth": "hook", "connect-hook": %q, "connect-hook-key-file": %q, "connect-hook-cookies": "session"}`, url, dir+"/secret")
		for name, text := range map[string]string{"config": text, "secret": "a-secret-of-more-than-24-bytes"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(one.URL)
	p := startServer(t, nil, "--config="+dir+"/config")
	connect := func(session string) int {
		t.Helper()
		status := 101
		d := ws.Dialer{Header: ws.HandshakeHeaderHTTP{"Cookie": {"session=" + session}}, OnStatusError: func(s int, _ []byte, _ io.Reader) { status = s }}
		c, _, _, err := d.Dial(t.Context(), "ws://"+p.public+"/ws")
		if err == nil {
			t.Cleanup(func() { c.Close() })
		} else if status == 101 {
			t.Fatal(err)
		}
		return status
	}
	if good, bad := connect("good"), connect("bad"); good != 101 || bad != 401 {
		t.Errorf("status %d and %d, want 101 and 401", good, bad)
	}
	runProgram(t, "", nil, "push", "--api="+p.api, "alice", "hello")
	metrics := string(get(t, "http://"+p.api+"/metrics"))
	for _, want := range []string{`fanfare_connect_hook_total{result="accepted"} 1`, `fanfare_connect_hook_total{result="rejected"} 1`, "fanfare_connect_hook_requests 0", "fanfare_connect_hook_open 0", "fanfare_connect_hook_anonymous_total 0"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	write(two.URL)
	p.signal(syscall.SIGHUP)
	p.waitLog("reloaded")
	if status := connect("good"); status != 101 || first.Load() != 2 || second.Load() != 1 {
		t.Errorf("after the reload: status %d, %d and %d requests", status, first.Load(), second.Load())
	}
}
