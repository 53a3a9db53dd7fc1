package console

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// browser drives one page of a headless Chromium over its DevTools protocol:
// numbered requests and answers in JSON over a WebSocket, with events between.
type browser struct {
	t      testing.TB
	conn   net.Conn
	rw     io.ReadWriter
	id     int
	faults []string // what the page threw, logged as an error or tried against its policy
}

// browserTime bounds a whole test in the browser.
const browserTime = 60 * time.Second

// openBrowser starts Chromium with an empty profile; it is gone when the test ends.
func openBrowser(t testing.TB) *browser {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("CI has no chromium: ", err)
		}
		t.Skip("the console is tested in chromium, which is not installed: make test installs it")
	}
	cmd := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-breakpad",
		"--user-data-dir="+t.TempDir(), "--remote-debugging-port=0", "--window-size=1200,800", "about:blank")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // its own children go with it
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
	})
	overdue := time.AfterFunc(browserTime, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	t.Cleanup(func() { overdue.Stop() })

	var host string
	lines := bufio.NewScanner(stderr)
	for host == "" && lines.Scan() {
		if _, rest, ok := strings.Cut(lines.Text(), "DevTools listening on ws://"); ok {
			host, _, _ = strings.Cut(rest, "/")
		}
	}
	if host == "" {
		t.Fatalf("chromium did not say where it listens: %v", lines.Err())
	}
	drained := make(chan struct{})
	go func() { defer close(drained); io.Copy(io.Discard, stderr) }()
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-drained
	})

	b := &browser{t: t}
	conn, buffered, _, err := ws.Dial(context.Background(), pageAddress(t, host))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(browserTime))
	b.conn, b.rw = conn, conn
	if buffered != nil {
		b.rw = struct {
			io.Reader
			io.Writer
		}{buffered, conn}
	}
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		b.call(domain+".enable", nil, nil)
	}
	return b
}

// pageAddress asks Chromium for the WebSocket of its first page.
func pageAddress(t testing.TB, host string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: browserTime}
	resp, err := client.Get("http://" + host + "/json/list")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var targets []struct{ Type, WebSocketDebuggerUrl string }
	if err := json.NewDecoder(resp.Body).Decode(&targets); err != nil {
		t.Fatal(err)
	}
	for _, target := range targets {
		if target.Type == "page" {
			return target.WebSocketDebuggerUrl
		}
	}
	t.Fatal("chromium has no page")
	return ""
}

// call makes one request of the DevTools protocol and reads up to its answer.
func (b *browser) call(method string, params, result any) {
	b.t.Helper()
	b.id++
	req, err := json.Marshal(map[string]any{"id": b.id, "method": method, "params": params})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := wsutil.WriteClientText(b.rw, req); err != nil {
		b.t.Fatal(err)
	}
	for {
		text, err := wsutil.ReadServerText(b.rw)
		if err != nil {
			b.t.Fatalf("%s: %v", method, err)
		}
		var m struct {
			ID             int
			Method         string
			Params, Result json.RawMessage
			Error          *struct{ Message string }
		}
		if err := json.Unmarshal(text, &m); err != nil {
			b.t.Fatal(err)
		}
		switch {
		case m.ID == b.id && m.Error != nil:
			b.t.Fatalf("%s: %s", method, m.Error.Message)
		case m.ID == b.id:
			if result != nil {
				if err := json.Unmarshal(m.Result, result); err != nil {
					b.t.Fatal(err)
				}
			}
			return
		default:
			b.event(m.Method, m.Params)
		}
	}
}

// event keeps events that report an error in the page.
func (b *browser) event(method string, params json.RawMessage) {
	switch method {
	case "Runtime.exceptionThrown":
		b.faults = append(b.faults, string(params))
	case "Log.entryAdded":
		var p struct {
			Entry struct{ Source, Level, Text string }
		}
		if json.Unmarshal(params, &p) == nil && p.Entry.Level == "error" {
			b.faults = append(b.faults, p.Entry.Source+": "+p.Entry.Text)
		}
	}
}

// eval runs JavaScript in the page; a promise is waited for.
func (b *browser) eval(script string, result any) error {
	b.t.Helper()
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct{ Exception struct{ Description string } }
	}
	b.call("Runtime.evaluate", map[string]any{"expression": script, "awaitPromise": true, "returnByValue": true}, &answer)
	if e := answer.ExceptionDetails; e != nil {
		return errors.New(e.Exception.Description)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(answer.Result.Value, result)
}

// do runs JavaScript that must succeed.
func (b *browser) do(script string) {
	b.t.Helper()
	if err := b.eval(script, nil); err != nil {
		b.t.Fatalf("%s: %v", script, err)
	}
}

// open loads a page and waits until its script has run.
func (b *browser) open(url string) {
	b.t.Helper()
	b.call("Page.navigate", map[string]any{"url": "about:blank"}, nil)
	b.wait("location.href === 'about:blank'")
	b.call("Page.navigate", map[string]any{"url": url}, nil)
	b.wait("location.href !== 'about:blank' && document.readyState === 'complete'")
}

// wait waits, in the page, for a condition to become true.
func (b *browser) wait(condition string) {
	b.t.Helper()
	script := fmt.Sprintf(`new Promise((resolve, reject) => {
		const until = performance.now() + 20000;
		const look = () => (%s) ? resolve() : performance.now() > until ? reject(new Error("not so: " + document.body.innerText)) : setTimeout(look, 5);
		look();
	})`, condition)
	// A page that is being left loses its promises; ask the next one.
	for range 5 {
		err := b.eval(script, nil)
		if err == nil {
			return
		}
		if !strings.Contains(err.Error(), "Promise was collected") && err.Error() != "" {
			b.t.Fatalf("waiting for %s: %v", condition, err)
		}
	}
	b.t.Fatalf("waiting for %s: the page went away", condition)
}

// ignoreFailures forgets faults that Chromium logs for a request that was rejected, which
// are not the page's.
func (b *browser) ignoreFailures(parts ...string) {
	b.faults = slices.DeleteFunc(b.faults, func(fault string) bool {
		return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(fault, p) })
	})
}
