package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDescriptorsAddUp fills both listeners and all requests to a hook that does not answer: what
// they take leaves the store its files, and nothing fails for lack of descriptors.
func TestDescriptorsAddUp(t *testing.T) {
	hook, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hook.Close()
	asked := make(chan net.Conn, 300)
	go func() {
		for {
			c, err := hook.Accept()
			if err != nil {
				close(asked)
				return
			}
			asked <- c
		}
	}()
	defer func() {
		hook.Close()
		for c := range asked {
			c.Close()
		}
	}()
	dir := t.TempDir()
	secret, key := filepath.Join(dir, "secret"), filepath.Join(dir, "key")
	for file, text := range map[string]string{secret: "a-secret-of-more-than-24-bytes", key: "0123456789abcdef"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const open = 300
	p := startServerStoring(t, dir, []string{fmt.Sprintf("%s=%d", descriptorsEnv, open)}, "--data-dir="+filepath.Join(dir, "data"),
		"--auth=hook", "--connect-hook=http://"+hook.Addr().String(), "--connect-hook-key-file="+secret, "--connect-hook-timeout=1m",
		"--api-key-file="+key, "--handshake-timeout=1m")
	w := p.warnings()
	if len(w) != 1 || w[0]["msg"] != "few file descriptors" {
		t.Fatalf("warnings: %v", w)
	}
	room := int(w[0]["max_connections"].(float64))
	if most := open - 2*64; room < 1 || room > most { // two sockets for each of 64 requests to the hook
		t.Errorf("%d connections, want 1 to %d", room, most)
	}
	dial := func(addr, text string) net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		io.WriteString(c, text) // may be rejected already
		return c
	}
	const handshake = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
	for range open {
		dial(p.public, handshake)
	}
	for n := range min(room, 64) {
		select {
		case c := <-asked:
			defer c.Close()
		case <-time.After(bound):
			t.Fatalf("the hook was asked %d times, want %d", n, min(room, 64))
		}
	}
	for i := range open / 4 {
		dial(p.api, fmt.Sprintf("GET /v1/users/u%d/trace HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer 0123456789abcdef\r\n\r\n", i))
	}
	for range open {
		dial(p.api, "")
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: bound}
	for i := range 10 {
		r, err := http.NewRequest(http.MethodPost, fmt.Sprintf("http://%s/v1/users/bob%d/push?durable=true", p.api, i), strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer 0123456789abcdef")
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Errorf("push: %d %s", resp.StatusCode, body)
		}
	}
	p.cmd.Process.Kill()
	for line := range p.lines {
		if text := fmt.Sprint(line); line["level"] == "ERROR" || strings.Contains(text, "too many open files") {
			t.Errorf("logged: %s", text)
		}
	}
}
