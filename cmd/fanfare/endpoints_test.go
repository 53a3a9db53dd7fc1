package main

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// handshakeStatus is the status of the answer to a handshake.
func (p *process) handshakeStatus(path string) int {
	p.t.Helper()
	c, _, _, err := ws.Dial(p.t.Context(), "ws://"+p.public+path)
	if err == nil {
		c.Close()
		return 101
	}
	var status ws.StatusError
	if !errors.As(err, &status) {
		p.t.Fatal(err)
	}
	return int(status)
}

// get returns the status and body of a plain request.
func (p *process) get(url string) (int, string) {
	p.t.Helper()
	return p.request(http.MethodGet, url, "")
}

// request sends a request and returns the status and the body of the answer.
func (p *process) request(method, url, body string) (int, string) {
	p.t.Helper()
	req, err := http.NewRequest(method, "http://"+url, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "text/plain")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// TestPaths: the echo endpoint and the console are in the directory of the endpoint.
func TestPaths(t *testing.T) {
	withoutRace(t)
	for _, test := range []struct{ flag, push, sse, echo, console string }{
		{"--path=/ws", "/ws", "/sse", "/echo", "/"},
		{"--path=/push/v2/socket", "/push/v2/socket", "/push/v2/sse", "/push/v2/echo", "/push/v2/"},
		{"--path=/push/", "/push/", "/push/sse", "/push/echo", ""}, // the endpoint takes the place of the console
	} {
		t.Run(test.flag, func(t *testing.T) {
			p := startServer(t, nil, test.flag)
			if status := p.handshakeStatus(test.push + "?user=alice"); status != 101 {
				t.Errorf("%s: %d", test.push, status)
			}
			if status, _ := p.request(http.MethodHead, p.public+test.sse+"?user=alice", ""); status != 200 {
				t.Errorf("%s: %d", test.sse, status)
			}
			if status := p.handshakeStatus(test.echo); status != 101 {
				t.Errorf("%s: %d", test.echo, status)
			}
			if test.console != "" {
				if status, body := p.get(p.public + test.console); status != 200 || !strings.Contains(body, ">"+test.push+"</option>") {
					t.Errorf("the console answers %d", status)
				}
				if p.serving["console"] != "http://"+p.public+test.console {
					t.Errorf("the log says %v", p.serving["console"])
				}
			} else if p.serving["console"] != "" {
				t.Errorf("the log names a console: %v", p.serving["console"])
			}
			if test.push != "/ws" {
				if status := p.handshakeStatus("/ws?user=alice"); status != 404 {
					t.Errorf("/ws: %d", status)
				}
				if status, _ := p.get(p.public + "/"); status != 404 {
					t.Errorf("/ answers %d", status)
				}
			}
		})
	}
}

// TestNoSSE: server-sent events can be turned off.
func TestNoSSE(t *testing.T) {
	p := startServer(t, nil, "--no-sse")
	if status, _ := p.get(p.public + "/sse?user=alice"); status != 404 {
		t.Errorf("/sse answers %d", status)
	}
}

// TestEchoIsOff: strangers cannot make the server send, unless the operator wants it.
func TestEchoIsOff(t *testing.T) {
	withoutRace(t)
	secret, _ := secretFile(t)
	jwt := []string{"--auth=jwt", "--jwt-key-file=" + secret}
	for _, test := range []struct {
		name string
		args []string
		echo bool
	}{
		{"development", nil, true},
		{"development, switched off", []string{"--echo=false"}, false},
		{"tokens", jwt, false},
		{"tokens, and asked for", append(jwt, "--echo"), true},
		{"after a proxy", []string{"--trusted-proxy=127.0.0.1"}, false},
		{"after a proxy, and asked for", []string{"--trusted-proxy=127.0.0.1", "--echo"}, true},
		{"beyond loopback", []string{"--listen=0.0.0.0:0", "--insecure-identity"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := startServer(t, nil, test.args...)
			p.public = strings.Replace(p.public, "[::]", "127.0.0.1", 1)
			want := 404
			if test.echo {
				want = 101
			}
			if got := p.handshakeStatus("/echo"); got != want {
				t.Errorf("got %d, want %d", got, want)
			}
		})
	}
}

// TestConsolePush: the console pushes with an API key if the operator lets it, and not
// otherwise.
func TestConsolePush(t *testing.T) {
	const key = "0123456789abcdef"
	for _, test := range []struct {
		flag   string
		status int
		want   string
	}{{"--console-push", 200, "sent to 1 session\n"}, {"--console", 405, "this path takes GET, HEAD\n"}} {
		p := startServer(t, []string{"FANFARE_API_KEY=" + key}, test.flag)
		alice := p.connect("/ws?user=alice")
		r, err := http.NewRequest("POST", "http://"+p.public+"/?user=alice", strings.NewReader("hi"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+key)
		if status, body := send(t, r); status != test.status || string(body) != test.want {
			t.Errorf("%s: %d %s, want %d %s", test.flag, status, body, test.status, test.want)
		}
		alice.Close()
	}
}

func TestNoConsole(t *testing.T) {
	withoutRace(t)
	file := t.TempDir() + "/config"
	if err := os.WriteFile(file, []byte(`{"console": false}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ env, arg string }{{"", "--no-console"}, {"FANFARE_CONSOLE=false", "--pprof"}, {"", "--config=" + file}} {
		p := startServer(t, []string{test.env}, test.arg)
		if status, body := p.get(p.public + "/"); status != 404 || strings.Contains(body, "console") {
			t.Errorf("%s%s: / answers %d %s", test.env, test.arg, status, body)
		}
		if p.serving["console"] != "" {
			t.Errorf("the log says %v", p.serving["console"])
		}
	}
}
