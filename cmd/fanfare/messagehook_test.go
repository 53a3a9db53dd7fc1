package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// TestMessageHookPlan: what is wrong with the flags is an error of serve, check and reload.
func TestMessageHookPlan(t *testing.T) {
	withoutRace(t)
	testHookPlan(t, "message-hook", nil, func(url, key string) []hookPlan {
		return []hookPlan{
			{nil, ""},
			{[]string{key}, "--message-hook-key-file has no effect here: it needs --message-hook"},
			{[]string{url, key, "--message-queue=9999999"}, "--message-queue is 9999999"},
		}
	})
}

// TestMessageHook: the backend answers what clients send, a reload changes which, and clients
// publish where --client-publish lets them.
func TestMessageHook(t *testing.T) {
	backend := func(name string) *httptest.Server {
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil || r.Header.Get("Webhook-Signature") == "" || !strings.Contains(string(body), `"user":"alice"`) {
				t.Errorf("%v, %v, %s", err, r.Header, body)
			}
			io.WriteString(w, name)
		}))
		t.Cleanup(web.Close)
		return web
	}
	one, two := backend("one"), backend("two")
	dir := t.TempDir()
	write := func(url string) {
		t.Helper()
		text := fmt.Sprintf(`{"message-hook": %q, "message-hook-key-file": %q, "client-publish": ["chat.*"]}`, url, dir+"/secret")
		for name, text := range map[string]string{"config": text, "secret": "a-secret-of-more-than-24-bytes"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(one.URL)
	p := startServer(t, nil, "--config="+dir+"/config")
	plain := p.connect("/ws?user=alice&topic=chat.1")
	ask := func(want string) {
		t.Helper()
		if err := wsutil.WriteClientText(plain, []byte("hi")); err != nil {
			t.Fatal(err)
		}
		if got, err := wsutil.ReadServerText(plain); err != nil || string(got) != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	ask("one")
	write(two.URL)
	p.signal(syscall.SIGHUP)
	p.waitLog("reloaded")
	ask("two")

	c, read, _, err := ws.Dialer{Protocols: []string{"fanfare.v1"}}.Dial(t.Context(), "ws://"+p.public+"/ws?user=alice")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var v1 io.ReadWriter = c
	if read != nil { // hello came with the answer
		v1 = struct {
			io.Reader
			io.Writer
		}{read, c}
	}
	for _, topic := range []string{"chat.1", "news"} {
		if err := wsutil.WriteClientText(v1, []byte(`{"type":"publish","topic":"`+topic+`","text":"to all"}`)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := wsutil.ReadServerText(plain); err != nil || string(got) != "to all" {
		t.Errorf("a subscriber got %q, %v", got, err)
	}
	// The answers may come in any order, and each after it was counted.
	for got := ""; !strings.Contains(got, `"forbidden"`) || !strings.Contains(got, `{"type":"publish","topic":"chat.1"}`); {
		b, err := wsutil.ReadServerText(v1)
		if err != nil {
			t.Fatal(err)
		}
		got += string(b)
	}
	metrics := string(get(t, "http://"+p.api+"/metrics"))
	for _, want := range []string{`fanfare_message_hook_total{result="answered"} 2`, `fanfare_message_hook_total{result="failed"} 0`, "fanfare_message_hook_requests 0", "fanfare_message_hook_open 0",
		`fanfare_client_requests_total{result="answered"} 2`, `fanfare_client_requests_total{result="busy"} 0`,
		`fanfare_client_publishes_total{result="accepted"} 1`, `fanfare_client_publishes_total{result="forbidden"} 1`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}
