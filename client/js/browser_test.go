package js_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// browser drives the tabs of a headless Chromium over its DevTools protocol.
type browser struct {
	t    *testing.T
	ctx  context.Context
	conn *websocket.Conn
	id   int
}

// openBrowser starts Chromium with an empty profile; it is gone when the test ends.
func openBrowser(t *testing.T) *browser {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("CI has no chromium: ", err)
		}
		t.Skip("chromium is not installed: make test installs it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	cmd := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-breakpad",
		"--user-data-dir="+t.TempDir(), "--remote-debugging-port=0", "about:blank")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // its own children go with it
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	drained := make(chan struct{})
	kill := func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	stop := context.AfterFunc(ctx, kill)
	found := make(chan string, 1)
	go func() {
		defer close(drained)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			if _, url, ok := strings.Cut(s.Text(), "DevTools listening on "); ok {
				found <- url
				break
			}
		}
		io.Copy(io.Discard, stderr)
	}()
	t.Cleanup(func() {
		stop()
		cancel()
		kill()
		<-drained
		cmd.Wait()
	})
	select {
	case url := <-found:
		b := &browser{t: t, ctx: ctx}
		if b.conn, _, err = websocket.Dial(ctx, url, nil); err != nil {
			t.Fatal(err)
		}
		b.conn.SetReadLimit(16 << 20)
		t.Cleanup(func() { b.conn.CloseNow() })
		return b
	case <-drained:
		t.Fatal("chromium ended")
	}
	return nil
}

// call makes one request, in a tab or for the browser, and reads up to its answer.
func (b *browser) call(session, method string, params map[string]any) json.RawMessage {
	b.t.Helper()
	b.id++
	if params == nil {
		params = map[string]any{}
	}
	request := map[string]any{"id": b.id, "method": method, "params": params}
	if session != "" {
		request["sessionId"] = session
	}
	text, err := json.Marshal(request)
	if err == nil {
		err = b.conn.Write(b.ctx, websocket.MessageText, text)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	for {
		_, text, err := b.conn.Read(b.ctx)
		if err != nil {
			b.t.Fatalf("%s: %v", method, err)
		}
		var m struct {
			ID     int
			Result json.RawMessage
			Error  *struct{ Message string }
		}
		if err := json.Unmarshal(text, &m); err != nil {
			b.t.Fatal(err)
		}
		if m.ID == b.id && m.Error != nil {
			b.t.Fatalf("%s: %s", method, m.Error.Message)
		}
		if m.ID == b.id {
			return m.Result
		}
	}
}

// tab is a page of the browser.
type tab struct {
	b               *browser
	target, session string
}

// open opens a page in a tab of its own.
func (b *browser) open(url string) *tab {
	b.t.Helper()
	var target struct{ TargetID string }
	var session struct{ SessionID string }
	json.Unmarshal(b.call("", "Target.createTarget", map[string]any{"url": url}), &target)
	json.Unmarshal(b.call("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}), &session)
	p := &tab{b, target.TargetID, session.SessionID}
	p.wait("document.readyState === 'complete' && typeof lines === 'object'")
	return p
}

func (p *tab) close() { p.b.call("", "Target.closeTarget", map[string]any{"targetId": p.target}) }

// eval runs JavaScript and returns its value.
func (p *tab) eval(script string) string {
	p.b.t.Helper()
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct{ Exception struct{ Description string } }
	}
	json.Unmarshal(p.b.call(p.session, "Runtime.evaluate", map[string]any{"expression": script, "awaitPromise": true, "returnByValue": true}), &answer)
	if e := answer.ExceptionDetails; e != nil {
		p.b.t.Fatalf("%s: %s", script, e.Exception.Description)
	}
	return string(answer.Result.Value)
}

// wait waits until a condition holds.
func (p *tab) wait(condition string) {
	p.b.t.Helper()
	for deadline := time.Now().Add(patience); p.eval(condition) != "true"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.b.t.Fatalf("not so: %s; the page has %s", condition, p.eval("JSON.stringify([typeof lines === 'object' && lines, typeof state === 'object' && state])"))
		}
	}
}

// expect waits until the page has printed these lines, and forgets them.
func (p *tab) expect(lines ...string) {
	p.b.t.Helper()
	want, _ := json.Marshal(append([]string{}, lines...))
	p.wait(fmt.Sprintf("JSON.stringify(lines) === JSON.stringify(%s)", want))
	p.eval("lines.length = 0")
}
