package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"fanfare/client/js/build"
)

// node is a JavaScript program that runs the examples of a document. What they write to
// the console comes as lines.
type node struct {
	t     *testing.T
	in    io.Writer
	lines chan string
}

// browserWorld is what browsers have and node has not: storage, and in version 20 a close
// event after a connection that failed, as the WebSocket standard wants.
const browserWorld = `
const NodeSocket = WebSocket;
globalThis.WebSocket = class extends NodeSocket {
  constructor(...args) {
    super(...args);
    let closed = false;
    this.addEventListener("close", () => closed = true);
    this.addEventListener("error", () => setTimeout(() => { if (!closed) this.onclose?.({code: 1006, reason: ""}); }, 100));
  }
};
const saved = new Map();
globalThis.localStorage = {getItem: k => saved.get(k) ?? null, setItem: (k, v) => saved.set(k, String(v))};
`

// startNode runs a script until the test ends.
func startNode(t *testing.T, script string) *node {
	t.Helper()
	program := installed(t, "node", "nodejs")
	var flags []string
	if !hasWebSocket(program) {
		flags = []string{"--experimental-websocket"} // before version 22
		if !hasWebSocket(program, flags...) {
			t.Skip("this version of node has no WebSocket: 20.10 or later is needed")
		}
	}
	file := filepath.Join(t.TempDir(), "example.mjs")
	if err := os.WriteFile(file, []byte(browserWorld+script), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, append(flags, "--no-warnings", file)...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, in: stdin, lines: make(chan string, 10_000)}
	go func() {
		defer close(n.lines)
		defer r.Close()
		for s := bufio.NewScanner(r); s.Scan(); {
			n.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		for range n.lines {
		}
	})
	return n
}

func hasWebSocket(program string, flags ...string) bool {
	return exec.Command(program, append(flags, "-e", "if (typeof WebSocket !== 'function') process.exit(1)")...).Run() == nil
}

// expect wants these lines next, in this order.
func (n *node) expect(want ...string) {
	n.t.Helper()
	for _, w := range want {
		select {
		case got, ok := <-n.lines:
			if !ok || got != w {
				n.t.Fatalf("the program printed %q, want %q", got, w)
			}
		case <-time.After(bound):
			n.t.Fatalf("the program did not print %q", w)
		}
	}
}

// expectAnyOrder wants these lines next, in any order.
func (n *node) expectAnyOrder(want ...string) {
	n.t.Helper()
	for len(want) > 0 {
		select {
		case got, ok := <-n.lines:
			i := slices.Index(want, got)
			if !ok || i < 0 {
				n.t.Fatalf("the program printed %q, want one of %q", got, want)
			}
			want = slices.Delete(want, i, i+1)
		case <-time.After(bound):
			n.t.Fatalf("the program did not print %q", want)
		}
	}
}

// unread returns how many stored messages a user has not acknowledged.
func unread(t *testing.T, p *process, user string) int {
	t.Helper()
	var inbox struct{ Messages []any }
	if err := json.Unmarshal(get(t, "http://"+p.api+"/v1/users/"+user+"/inbox"), &inbox); err != nil {
		t.Fatal(err)
	}
	return len(inbox.Messages)
}

// waitOnline waits until a user has a session.
func waitOnline(t *testing.T, api, user string) {
	t.Helper()
	for wait := bound; wait > 0; wait -= pollEvery {
		if strings.Contains(string(get(t, "http://"+api+"/v1/users/"+user)), `"online":true`) {
			return
		}
		time.Sleep(pollEvery)
	}
	t.Fatalf("%s is not online", user)
}

// post pushes, and wants status 200.
func post(t *testing.T, url, contentType, body string) {
	t.Helper()
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: tr, Timeout: bound}).Post(url, contentType, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if answer, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		t.Fatalf("POST %s: %s %s", url, resp.Status, answer)
	}
}

// TestDocsPlainClient runs the two-line clients, and pushes to them what the README
// pushes.
func TestDocsPlainClient(t *testing.T) {
	withoutRace(t)
	for _, file := range []string{"README.md", "docs/protocol.md"} {
		t.Run(filepath.Base(file), func(t *testing.T) {
			p := startServer(t, nil)
			example := docBlocks(t, file, "js")[0]
			n := startNode(t, strings.ReplaceAll(example.text, "127.0.0.1:8080", p.public))
			waitOnline(t, p.api, "alice")
			post(t, "http://"+p.api+"/v1/users/alice/push", "application/json", `{"hello":"world"}`)
			post(t, "http://"+p.api+"/v1/topics/weather/push", "text/plain", "rain at noon")
			post(t, "http://"+p.api+"/v1/broadcast", "application/json", `{"maintenance":"22:00 UTC"}`)
			n.expect(`{"hello":"world"}`, "rain at noon", `{"maintenance":"22:00 UTC"}`)
		})
	}
}

// clients is a program with the complete client of the protocol's document. It connects
// for each line of its input, {"url":…,"user":…,"topics":[…]}, and prints what the
// client reports: [user,topic,text] of messages, [user,topic] of gaps.
func clients(t *testing.T) *node {
	var function string
	for _, b := range docBlocks(t, "docs/protocol.md", "js") {
		if strings.HasPrefix(b.text, "function connect(") {
			function = b.text
		}
	}
	if function == "" {
		t.Fatal("docs/protocol.md has no function connect")
	}
	return startClients(t, function)
}

// libraryClients is clients with the JavaScript library.
func libraryClients(t *testing.T) *node {
	return startClients(t, "import {Client, localStorageStore} from "+strconv.Quote("file://"+buildLibrary(t))+`;
function connect({url, user, topics, onMessage, onGap}) {
  const client = new Client({url, user, store: localStorageStore(), minDelay: 500, maxDelay: 1000});
  client.inbox(onMessage);
  for (const topic of topics) client.subscribe(topic, onMessage);
  client.on("gap", ({topic}) => onGap(topic));
  client.on("error", error => { if (error.kind !== "close" && error.kind !== "handshake") console.log(error.kind); });
  client.connect();
  return client;
}
`)
}

// buildLibrary returns the file of the library.
func buildLibrary(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	err := build.Into(t.Context(), filepath.Join("..", "..", "client", "js"), dir)
	if errors.Is(err, build.ErrMissing) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "dist", "index.js")
}

// TestDocsLibrary runs the example of the JavaScript library.
func TestDocsLibrary(t *testing.T) {
	withoutRace(t)
	p := startServer(t, nil, "--data-dir="+t.TempDir(), "--durable-topic=scores.*")
	example := docBlocks(t, "docs/clients.md", "js")[0]
	n := startNode(t, strings.NewReplacer("127.0.0.1:8080", p.public, `"fanfare-client"`, strconv.Quote("file://"+buildLibrary(t))).Replace(example.text))
	waitOnline(t, p.api, "bob")
	post(t, "http://"+p.api+"/v1/users/bob/push?durable=true&id=1", "text/plain", "one")
	post(t, "http://"+p.api+"/v1/topics/scores.final/push?id=2", "text/plain", "2:1")
	n.expectAnyOrder("inbox one", "scores.final 2:1")
	waitAcked(t, p)
}

// startClients runs a function connect as clients says.
func startClients(t *testing.T, function string) *node {
	return startNode(t, function+`
import {createInterface} from "node:readline";
const open = new Map();
createInterface({input: process.stdin}).on("line", line => {
  const c = JSON.parse(line);
  open.get(c.user)?.close(); // as a page that is loaded again
  open.set(c.user, connect({...c,
    onMessage: m => console.log(JSON.stringify([c.user, m.topic ?? null, m.text ?? null])),
    onGap: topic => console.log(JSON.stringify([c.user, topic ?? null])),
  }));
});
`)
}

func (n *node) connect(url, user string, topics ...string) {
	line, _ := json.Marshal(map[string]any{"url": url, "user": user, "topics": slices.Concat([]string{}, topics)})
	fmt.Fprintf(n.in, "%s\n", line)
}

// TestDocsClientFaults runs the complete client against what can go wrong: connections
// break, servers lose their storage, messages come twice or are missing, several
// users and topics share one browser.
func TestDocsClientFaults(t *testing.T) {
	withoutRace(t)
	p := newPeer(t)
	n := clients(t)

	// A first visit names no offsets.
	n.connect(p.url("bob"), "bob", "news")
	p.accept("user=bob", "topic=news")
	p.say(`{"type":"hello","user":"bob","offset":4,"epoch":"E1"}`,
		`{"type":"subscribe","topic":"news","offset":8,"epoch":"E1"}`,
		`{"type":"message","offset":5,"epoch":"E1","text":"five"}`,
		`{"type":"message","topic":"news","offset":9,"epoch":"E1","text":"nine"}`,
		`{"type":"message","text":"live"}`,
		`{"type":"message","offset":6,"epoch":"E1","base64":"e30=","utf8":true}`)
	n.expect(`["bob",null,"five"]`, `["bob","news","nine"]`, `["bob",null,"live"]`, `["bob",null,"{}"]`)
	p.acked(`{"type":"ack","offset":5,"epoch":"E1"}`)
	p.acked(`{"type":"ack","topic":"news","offset":9,"epoch":"E1"}`)
	p.acked(`{"type":"ack","offset":6,"epoch":"E1"}`)

	// The connection breaks: the client resumes inbox and topic, each at its own offset.
	// It does not show messages again that it has already; a topic's message with the offset and epoch
	// of an inbox message is not a duplicate of that.
	p.drop()
	p.accept("user=bob", "topic=news", "offset=6", "epoch=E1", "offset.news=9", "epoch.news=E1")
	p.say(`{"type":"hello","user":"bob","offset":6,"epoch":"E1"}`,
		`{"type":"subscribe","topic":"news","offset":9,"epoch":"E1"}`,
		`{"type":"message","offset":6,"epoch":"E1","text":"again"}`,
		`{"type":"message","offset":10,"epoch":"E1","text":"ten"}`,
		`{"type":"message","topic":"news","offset":10,"epoch":"E1","text":"also ten"}`)
	n.expect(`["bob",null,"ten"]`, `["bob","news","also ten"]`)
	p.acked(`{"type":"ack","offset":10,"epoch":"E1"}`)
	p.acked(`{"type":"ack","topic":"news","offset":10,"epoch":"E1"}`)

	// The server lost its storage: offsets start again, below the client's.
	// Nothing is dropped as a duplicate.
	p.drop()
	p.accept("user=bob", "topic=news", "offset=10", "epoch=E1", "offset.news=10", "epoch.news=E1")
	p.say(`{"type":"hello","user":"bob","offset":0,"epoch":"E2","gap":true}`,
		`{"type":"subscribe","topic":"news","offset":0,"epoch":"N2","gap":true}`,
		`{"type":"message","offset":1,"epoch":"E2","text":"one"}`,
		`{"type":"message","topic":"news","offset":1,"epoch":"N2","text":"first"}`)
	n.expect(`["bob",null]`, `["bob","news"]`, `["bob",null,"one"]`, `["bob","news","first"]`)
	p.acked(`{"type":"ack","offset":1,"epoch":"E2"}`)
	p.acked(`{"type":"ack","topic":"news","offset":1,"epoch":"N2"}`)

	// The server was restarted and lost nothing: a new epoch, the same offsets.
	p.drop()
	p.accept("user=bob", "topic=news", "offset=1", "epoch=E2", "offset.news=1", "epoch.news=N2")
	p.say(`{"type":"hello","user":"bob","offset":1,"epoch":"E3"}`,
		`{"type":"subscribe","topic":"news","offset":1,"epoch":"N3"}`,
		`{"type":"message","offset":2,"epoch":"E3","text":"two"}`,
		// Storage replaced within the session.
		`{"type":"message","offset":1,"epoch":"E4","gap":true,"text":"one of E4"}`,
		// Messages expired before they could be sent.
		`{"type":"message","offset":7,"epoch":"E4","gap":true,"text":"seven"}`)
	n.expect(`["bob",null,"two"]`, `["bob",null]`, `["bob",null,"one of E4"]`, `["bob",null]`, `["bob",null,"seven"]`)
	p.acked(`{"type":"ack","offset":2,"epoch":"E3"}`)
	p.acked(`{"type":"ack","offset":1,"epoch":"E4"}`)
	p.acked(`{"type":"ack","offset":7,"epoch":"E4"}`)

	// Another user of the same browser has positions of their own, and bob's page is
	// loaded again with another topic.
	bobs := p.conn
	n.connect(p.url("carol"), "carol", "news")
	p.accept("user=carol", "topic=news")
	p.say(`{"type":"hello","user":"carol","offset":0,"epoch":"E4"}`,
		`{"type":"message","offset":3,"epoch":"E4","text":"hers"}`)
	n.expect(`["carol",null,"hers"]`)
	p.acked(`{"type":"ack","offset":3,"epoch":"E4"}`)
	carols := p.conn
	n.connect(p.url("bob"), "bob", "sports")
	p.accept("user=bob", "topic=sports", "offset=7", "epoch=E4")
	bobs.Close()

	// A server without storage, and one that does not want the client any more.
	p.say(`{"type":"hello","user":"bob","gap":true}`, `{"type":"subscribe","topic":"sports"}`, `{"type":"message","topic":"sports","text":"goal"}`)
	n.expect(`["bob",null]`, `["bob","sports","goal"]`)
	p.drop()
	p.accept("user=bob", "topic=sports", "offset=7", "epoch=E4")
	ws.WriteFrame(p.conn, ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusPolicyViolation, "no")))
	if f, err := readFrame(p.conn); err != nil || f.Header.OpCode != ws.OpClose {
		t.Fatal(f, err)
	}
	p.drop()
	carols.Close()
	for range 3 { // with growing delays, in which bob does not come back
		p.accept("user=carol", "topic=news", "offset=3", "epoch=E4")
		p.drop()
	}
}
