package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"fanfare/cmd/fanfare/internal/settings"

	"github.com/gobwas/ws"
	"github.com/golang-jwt/jwt/v5"
)

// reloadable is a server whose config file, token secret and API keys a test rewrites.
type reloadable struct {
	*process
	dir string
}

const (
	oldSecret, newSecret = "the-old-secret-of-at-least-32-bytes", "the-new-secret-of-at-least-32-bytes"
	oldKey, newKey       = "old-0123456789abcdef", "new-0123456789abcdef"
)

func startReloadable(t *testing.T, config string) *reloadable {
	t.Helper()
	r := &reloadable{dir: t.TempDir()}
	r.write(t, "config", config)
	r.write(t, "secret", oldSecret)
	r.write(t, "keys", oldKey)
	r.process = startServer(t, nil, "--config="+r.dir+"/config", "--auth=jwt", "--jwt-key-file="+r.dir+"/secret", "--api-key-file="+r.dir+"/keys")
	return r
}

func (r *reloadable) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// tokenOf returns the query of a handshake.
func tokenOf(t *testing.T, user, secret string) string {
	t.Helper()
	s, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": user, "exp": time.Now().Add(time.Hour).Unix()}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return "/ws?token=" + s
}

// handshake returns the status of a handshake with headers; 101 closes the session again.
func (r *reloadable) handshake(path string, header http.Header) int {
	r.t.Helper()
	c, _, _, err := ws.Dialer{Header: ws.HandshakeHeaderHTTP(header)}.Dial(context.Background(), "ws://"+r.public+path)
	var rejected ws.StatusError
	if errors.As(err, &rejected) {
		return int(rejected)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	c.Close()
	return 101
}

// stats returns the status of a request with a key.
func (r *reloadable) stats(key string) int {
	r.t.Helper()
	req, err := http.NewRequest("GET", "http://"+r.api+"/v1/stats", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		r.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// TestReload changes everything that SIGHUP reloads, and a flag that needs a restart,
// while a session is open.
func TestReload(t *testing.T) {
	r := startReloadable(t, `{"sessions-per-user": 1, "workers": 100}`)
	page := http.Header{"Origin": {"https://app.example.com"}}
	alice := r.connect(tokenOf(t, "alice", oldSecret))
	for _, check := range []struct {
		name      string
		got, want int
	}{
		{"token of the new secret", r.handshake(tokenOf(t, "bob", newSecret), nil), 401},
		{"origin", r.handshake(tokenOf(t, "bob", oldSecret), page), 403},
		{"second session", r.handshake(tokenOf(t, "alice", oldSecret), nil), 429},
		{"new API key", r.stats(newKey), 401},
	} {
		if check.got != check.want {
			t.Errorf("before: %s: %d, want %d", check.name, check.got, check.want)
		}
	}

	r.write(t, "config", `{"sessions-per-user": 2, "workers": 200, "allow-origin": ["https://app.example.com"], "log-level": "debug", "jwt-leeway": "1m"}`)
	r.write(t, "secret", newSecret)
	r.write(t, "keys", newKey)
	r.signal(syscall.SIGHUP)
	if line := r.waitLog("flag needs a restart, the old value stays"); line["flag"] != "--workers" || line["old"] != "100" || line["new"] != "200" {
		t.Errorf("%v", line)
	}
	line := r.waitLog("reloaded")
	if got := line["changed"]; !reflect.DeepEqual(got, []any{"jwt-leeway", "allow-origin", "sessions-per-user", "log-level"}) {
		t.Errorf("changed: %v", got)
	}
	for _, check := range []struct {
		name      string
		got, want int
	}{
		{"token of the old secret", r.handshake(tokenOf(t, "bob", oldSecret), nil), 401},
		{"origin", r.handshake(tokenOf(t, "bob", newSecret), page), 101},
		{"second session", r.handshake(tokenOf(t, "alice", newSecret), nil), 101},
		{"old API key", r.stats(oldKey), 401},
		{"new API key", r.stats(newKey), 200},
	} {
		if check.got != check.want {
			t.Errorf("after: %s: %d, want %d", check.name, check.got, check.want)
		}
	}
	r.waitLog("handshake rejected") // at debug
	if res := runProgram(t, "", []string{settings.APIKeyEnv + "=" + newKey}, "push", "--api="+r.api, "alice", "hello"); res.code != exitOK {
		t.Errorf("%+v", res)
	}
	if msg, _ := receive(t, alice); msg != "hello" {
		t.Errorf("the session received %q", msg)
	}
}

// TestReloadFails: whatever is wrong, nothing changes, and the log says what it was.
func TestReloadFails(t *testing.T) {
	const good = `{"sessions-per-user": 1}`
	r := startReloadable(t, good)
	alice := r.connect(tokenOf(t, "alice", oldSecret))
	for _, test := range []struct{ name, file, text, want string }{
		{"not JSON", "config", `{"sessions-per-user": 2`, "--config: want one JSON object"},
		{"unknown key", "config", `{"sessions-per-usr": 2}`, "unknown key"},
		{"value out of range", "config", `{"sessions-per-user": 2, "ping-timeout": "1ms"}`, "--ping-timeout is 1ms: want 100ms to 24h"},
		{"flag without effect", "config", `{"sessions-per-user": 2, "node-name": "x"}`, "--node-name has no effect here"},
		{"short secret", "secret", "short", "--jwt-key-file"},
		{"short API key", "keys", "short", "--api-key-file has a key of 5 bytes"},
		{"no API key", "keys", "# none", "has no key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			// Everything else would change.
			r.write(t, "config", `{"sessions-per-user": 2}`)
			r.write(t, "secret", newSecret)
			r.write(t, "keys", newKey)
			r.write(t, test.file, test.text)
			r.signal(syscall.SIGHUP)
			if line := r.waitLog("reload failed, nothing is changed"); !strings.Contains(line["err"].(string), test.want) || line["level"] != "ERROR" {
				t.Errorf("%v, want %q", line, test.want)
			}
			if s := r.handshake(tokenOf(t, "bob", oldSecret), nil); s != 101 {
				t.Errorf("the old secret: %d", s)
			}
			if s := r.handshake(tokenOf(t, "alice", oldSecret), nil); s != 429 {
				t.Errorf("a second session: %d", s)
			}
			if s := r.stats(oldKey); s != 200 {
				t.Errorf("the old API key: %d", s)
			}
		})
	}
	if res := runProgram(t, "", []string{settings.APIKeyEnv + "=" + oldKey}, "push", "--api="+r.api, "alice", "hello"); res.code != exitOK {
		t.Errorf("%+v", res)
	}
	if msg, _ := receive(t, alice); msg != "hello" {
		t.Errorf("the session received %q", msg)
	}
}

// TestReloadAuth: settings of tokens do not change without --auth.
func TestReloadAuth(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("{}")
	p := startServer(t, nil, "--config="+file)
	secret, _ := secretFile(t)
	write(`{"auth": "jwt", "jwt-key-file": "` + secret + `"}`)
	p.signal(syscall.SIGHUP)
	for _, want := range []string{"--auth", "--jwt-key-file"} {
		if line := p.waitLog("flag needs a restart, the old value stays"); line["flag"] != want {
			t.Errorf("%v, want %s", line, want)
		}
	}
	if line := p.waitLog("reloaded"); len(line["changed"].([]any)) > 0 {
		t.Errorf("%v", line)
	}
	p.connect("/ws?user=alice")
}

// TestReloadEcho: to turn the default echo endpoint off needs a restart, which is said.
func TestReloadEcho(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("{}")
	p := startServer(t, nil, "--config="+file)
	write(`{"echo": false}`)
	p.signal(syscall.SIGHUP)
	if line := p.waitLog("flag needs a restart, the old value stays"); line["flag"] != "--echo" || line["old"] != "true" || line["new"] != "false" {
		t.Errorf("%v", line)
	}
}

// liveFlags are the flags that a reload changes, sorted.
func liveFlags() (names []string) {
	for _, f := range new(settings.Serve).Flags() {
		if f.Live {
			names = append(names, f.Name)
		}
	}
	slices.Sort(names)
	return names
}
