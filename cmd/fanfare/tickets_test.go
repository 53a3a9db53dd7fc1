package main

import (
	"encoding/json"
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
	"github.com/gobwas/ws/wsutil"
)

// TestResumeTickets: a ticket opens a session without the backend, until a reload replaces
// its key, and is in no log.
func TestResumeTickets(t *testing.T) {
	var asked atomic.Int64
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		io.WriteString(w, `{"user":"alice","topics":["news"]}`)
	}))
	t.Cleanup(web.Close)
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	keys := write("keys", "# shared by all nodes\n"+strings.Repeat("k", 32)+"\n")
	p := startServer(t, nil, "--auth=hook", "--connect-hook="+web.URL, "--connect-hook-key-file="+write("secret", "a-secret-of-more-than-24-bytes"),
		"--connect-hook-query=device", "--resume-tickets="+keys, "--log-level=debug")
	connect := func(query, field string) (ticket string) {
		t.Helper()
		d := ws.Dialer{Protocols: []string{"fanfare.v1"}}
		if field != "" {
			d.Header = ws.HandshakeHeaderHTTP{"Authorization": {"Ticket " + field}}
		}
		c, r, _, err := d.Dial(t.Context(), "ws://"+p.public+"/ws"+query)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		var hello struct{ Type, User, Ticket string }
		rw := io.ReadWriter(c)
		if r != nil {
			rw = struct {
				io.Reader
				io.Writer
			}{io.MultiReader(r, c), c}
		}
		text, err := wsutil.ReadServerText(rw)
		if err == nil {
			err = json.Unmarshal(text, &hello)
		}
		if err != nil || hello.Type != "hello" || hello.User != "alice" || hello.Ticket == "" {
			t.Fatalf("%+v, %v", hello, err)
		}
		return hello.Ticket
	}
	var old, logged string
	var tickets []string
	for _, step := range []struct {
		name  string
		do    func() string
		asked int64
	}{
		{"the first session", func() string { return connect("?device=d", "") }, 1},
		{"a ticket in the header", func() string { return connect("", old) }, 0},
		{"in the query, beside what the backend gets", func() string { return connect("?device=d&topic=news&ticket="+old, "") }, 0},
		{"after its key was replaced", func() string {
			write("keys", strings.Repeat("n", 32))
			p.signal(syscall.SIGHUP)
			for line := range p.lines {
				logged += fmt.Sprint(line)
				if line["msg"] == "reloaded" {
					break
				}
			}
			return connect("?ticket="+old, "")
		}, 1},
	} {
		asked.Store(0)
		if old = step.do(); asked.Load() != step.asked {
			t.Errorf("%s: %d requests to the backend, want %d", step.name, asked.Load(), step.asked)
		}
		tickets = append(tickets, old)
	}
	for _, ticket := range tickets {
		if strings.Contains(logged, ticket) {
			t.Error("a ticket is in the log")
		}
	}
	metrics := string(get(t, "http://"+p.api+"/metrics"))
	for _, want := range []string{`fanfare_tickets_total{result="accepted"} 2`, `fanfare_tickets_total{result="unreadable"} 1`, "fanfare_tickets_issued_total 4"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}
