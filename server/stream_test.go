package server

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"fanfare/frame"
)

// lines is a Stream of the application: each message is a line. What is named in panics
// panics.
type lines struct {
	panics  string
	encoded atomic.Int64
}

func (l *lines) call(name string) {
	if l.panics == name {
		panic(name)
	}
}

func (l *lines) Protocol() string { return "lines" }
func (l *lines) Encode(c Content) *frame.Prepared {
	l.encoded.Add(1)
	return frame.Raw(append(bytes.Clone(c.Payload), '\n'))
}
func (l *lines) Resume(*Request, string, []string) (map[string]Position, error) { return nil, nil }
func (l *lines) Begin(*Session, Position)                                       {}
func (l *lines) Receive(s *Session, _ Op, _ []byte)                             { panic("a stream receives nothing") }
func (l *lines) Acks() AckMode                                                  { return AckByResume }
func (l *lines) Heartbeat() []byte                                              { l.call("Heartbeat"); return []byte("\n") }
func (l *lines) Ping([]byte) []byte                                             { return nil }
func (l *lines) Goodbye(code Code, reason string) []byte {
	l.call("Goodbye")
	return []byte("goodbye: " + reason + "\n")
}
func (l *lines) ContentType() string { return "text/x-lines" }
func (l *lines) Preamble() []byte    { l.call("Preamble"); return []byte("welcome\n") }
func (l *lines) Mark(b, encoded []byte, _ string, at []Position) []byte {
	l.call("Mark")
	if encoded == nil {
		return append(b, "#\n"...)
	}
	return append(append(b, '*'), encoded...)
}

func linesEndpoint(l *lines) Endpoint {
	ep := PushEndpoint("/lines")
	ep.Dialects = []Dialect{l}
	return ep
}

// getStream opens a session of a Stream, and wants these lines.
func getStream(t *testing.T, srv *Server, path string, want ...string) *client {
	t.Helper()
	c := connect(t, srv)
	c.say("GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
	head := ""
	for !strings.HasSuffix(head, "\r\n\r\n") {
		line, err := c.br.ReadString('\n')
		if err != nil {
			t.Fatalf("after %q: %v", head, err)
		}
		head += line
	}
	if !strings.HasPrefix(head, "HTTP/1.1 200 ") || !strings.Contains(head, "Content-Type: text/x-lines\r\n") {
		t.Fatal(head)
	}
	c.wantLines(want...)
	return c
}

func (c *client) wantLines(want ...string) {
	c.t.Helper()
	for _, w := range want {
		if got, err := c.br.ReadString('\n'); err != nil || got != w+"\n" {
			c.t.Fatalf("got %q, %v, want %q", got, err, w)
		}
	}
}

// A Stream of the application decides about everything that its sessions get.
func TestOwnStream(t *testing.T) {
	l := new(lines)
	cfg := withInbox(t)
	cfg.Endpoints = []Endpoint{linesEndpoint(l)}
	srv := start(t, cfg)
	const path = "/lines?protocol=lines&user="
	a, b := getStream(t, srv, path+"a", "welcome", "#"), getStream(t, srv, path+"b", "welcome", "#")
	broadcast(srv, Text, []byte("all"))
	a.wantLines("all")
	b.wantLines("all")
	if n := l.encoded.Load(); n != 1 {
		t.Errorf("encoded %d times for two receivers", n)
	}
	pushDurable(t, srv, "a", "stored")
	a.wantLines("*stored")
	s := only(t, srv, "a")
	if s.Protocol() != "lines" || s.ext.Load() != nil {
		t.Errorf("protocol %q, extension %v: an idle session needs none", s.Protocol(), s.ext.Load())
	}
	s.Close(4000, "enough")
	a.wantLines("goodbye: enough")
	if rest, err := io.ReadAll(a.br); err != nil || len(rest) > 0 {
		t.Errorf("then %q, %v", rest, err)
	}
	c := connect(t, srv)
	c.say("GET /lines?user=a HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if resp := c.answer(); resp.StatusCode != 400 {
		t.Errorf("no protocol: %s", resp.Status)
	}
}

// A panic of a Stream costs what it must: no frame of WebSocket is ever sent instead.
func TestStreamPanics(t *testing.T) {
	for _, name := range []string{"Mark", "Goodbye"} {
		t.Run(name, func(t *testing.T) {
			cfg := withInbox(t)
			cfg.Endpoints = []Endpoint{linesEndpoint(&lines{panics: name})}
			srv := start(t, cfg)
			begin, want := []string{"welcome", "#"}, "*stored"
			if name == "Mark" { // without positions
				begin, want = begin[:1], "stored"
			}
			c := getStream(t, srv, "/lines?protocol=lines&user=a", begin...)
			pushDurable(t, srv, "a", "stored")
			c.wantLines(want)
			only(t, srv, "a").Close(4000, "enough")
			rest, err := io.ReadAll(c.br)
			if err != nil || name == "Goodbye" && len(rest) > 0 || name == "Mark" && string(rest) != "goodbye: enough\n" {
				t.Errorf("the end is %q, %v", rest, err)
			}
			if srv.Stats().Panics == 0 {
				t.Error("the panic is not counted")
			}
		})
	}
	for _, name := range []string{"Preamble"} {
		srv := start(t, Config{Endpoints: []Endpoint{linesEndpoint(&lines{panics: name})}})
		c := connect(t, srv)
		c.say("GET /lines?protocol=lines&user=a HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if resp := c.answer(); resp.StatusCode != 500 {
			t.Errorf("%s: %s", name, resp.Status)
		}
	}
}

// Heartbeats of a Stream are due at every interval, and their answer is TCP's.
func TestStreamHeartbeat(t *testing.T) {
	l := new(lines)
	srv, clock := startStopped(t, Config{Endpoints: []Endpoint{linesEndpoint(l)}})
	c := getStream(t, srv, "/lines?protocol=lines&user=a", "welcome")
	await(t, "open", func() bool { return srv.Count() == 1 })
	for i := range int64(4) {
		wantAbout(t, "heartbeat", clock.until(t, "heartbeat", i+1, srv.stats.Pings.Load), srv.cfg.PingInterval)
		c.wantLines("")
	}
	if got := []int64{srv.Stats().Pings, srv.Stats().Dead, int64(srv.Count())}; !slices.Equal(got, []int64{4, 0, 1}) {
		t.Errorf("heartbeats, missed, sessions: %v", got)
	}
}
