package console

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"fanfare/server"
	"fanfare/server/inbox"
	"fanfare/server/store"
)

// row is a message as the console shows it.
type row struct{ Kind, Size, Body string }

// rows returns the console's list, without its notes.
func (b *browser) rows() (rows []row) {
	b.t.Helper()
	err := b.eval(`[...document.querySelectorAll("#messages li:not([data-kind=note])")].map(li => ({
		kind: li.dataset.kind, size: li.querySelector(".size").textContent, body: li.querySelector(".body").textContent}))`, &rows)
	if err != nil {
		b.t.Fatal(err)
	}
	return rows
}

func (b *browser) fill(id, value string) {
	b.t.Helper()
	quoted, _ := json.Marshal(value)
	b.do("{ const e = document.getElementById('" + id + "'); e.value = " + string(quoted) + "; e.dispatchEvent(new Event('input', {bubbles: true})); }")
}

func (b *browser) click(id string) {
	b.t.Helper()
	b.do("document.getElementById('" + id + "').click()")
}
func (b *browser) waitState(s string) {
	b.t.Helper()
	b.wait("$('state').dataset.state === '" + s + "'")
}
func (b *browser) waitRows(n string) {
	b.t.Helper()
	b.wait("document.querySelectorAll('#messages li:not([data-kind=note])').length " + n)
}
func (b *browser) text(id string) string {
	b.t.Helper()
	var s string
	if err := b.eval("document.getElementById('"+id+"').textContent", &s); err != nil {
		b.t.Fatal(err)
	}
	return s
}

// brokenWords lists the words of the page that lie on two lines, and says whether the page is
// wider than the window. A word of 24 letters or more may be longer than a line.
const brokenWords = `(() => {
	const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	let seen = 0;
	for (let n; n = walker.nextNode(); ) for (const word of n.data.matchAll(/[A-Za-z0-9]+/g)) {
		const r = document.createRange();
		r.setStart(n, word.index);
		r.setEnd(n, word.index + word[0].length);
		const lines = r.getClientRects().length; // 0 if it is not shown
		seen += lines;
		if (word[0].length < 24 && lines > 1) found.push(word[0]);
	}
	if (seen < 50) found.push("only " + seen + " words are shown");
	const page = document.scrollingElement;
	if (page.scrollWidth > innerWidth) found.push(page.scrollWidth + " pixels wide");
	return found;
})()`

func TestConsole(t *testing.T) {
	srv := start(t, server.Config{Endpoints: []server.Endpoint{server.PushEndpoint("/ws"), server.EchoEndpoint("/echo"), tokens}}, Page{})
	page := "http://" + srv.Addr().String() + "/"
	b := openBrowser(t)

	t.Run("shows what is pushed", func(t *testing.T) {
		b.t = t
		b.open(page)
		if got := b.text("state"); got != "not connected" {
			t.Errorf("state is %q before Connect", got)
		}
		b.fill("user", "Zoë/1")
		b.fill("topics", "news, weather ,")
		b.click("connect")
		b.waitState("open")
		sessions := connections(t, srv, "Zoë/1")
		if len(sessions) != 1 {
			t.Fatalf("%d sessions", len(sessions))
		}
		if topics := strings.Join(sessions[0].Topics, " "); topics != "news weather" && topics != "weather news" {
			t.Errorf("topics are %q", topics)
		}
		push(t, srv, "Zoë/1", server.Text, []byte(`{"title":"<img src=x onerror=alert(1)>","n":1}`))
		push(t, srv, "Zoë/1", server.Binary, []byte("fan\x00\xff"))
		srv.Publish(t.Context(), "weather", server.NewMessage(server.Text, []byte("rain 🌧")))
		srv.Broadcast(t.Context(), server.NewMessage(server.Text, nil))
		b.waitRows("=== 4")
		want := []row{
			{"text", "46 B", `{"title":"<img src=x onerror=alert(1)>","n":1}`},
			{"binary", "5 B", "66 61 6e 00 ff" + strings.Repeat(" ", 35) + "fan··"},
			{"text", "9 B", "rain 🌧"},
			{"text", "0 B", ""},
		}
		for i, got := range b.rows() {
			if got != want[i] {
				t.Errorf("row %d is %q, want %q", i, got, want[i])
			}
		}
		if got := b.text("count"); got != "4 received, 60 bytes" {
			t.Errorf("counted %q", got)
		}
		b.click("clear")
		b.waitRows("=== 0")
	})

	t.Run("breaks lines between words", func(t *testing.T) {
		b.t = t
		b.click("connect") // the form is for the next connection
		b.waitState("closed")
		b.fill("user", "device-eu-west-1.customers.example.com/4f8a1c3e")
		for _, width := range []int{360, 800, 1200} {
			b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false}, nil)
			b.wait(fmt.Sprintf("innerWidth === %d", width))
			var broken []string
			if err := b.eval(brokenWords, &broken); err != nil {
				t.Fatal(err)
			}
			if len(broken) > 0 {
				t.Errorf("in a window of %d pixels: %q", width, broken)
			}
		}
		b.call("Emulation.clearDeviceMetricsOverride", nil, nil)
		b.fill("user", "Zoë/1")
		b.click("connect")
		b.waitState("open")
	})

	t.Run("bounds what it keeps", func(t *testing.T) {
		b.t = t
		for range 700 {
			push(t, srv, "Zoë/1", server.Text, []byte("x"))
		}
		push(t, srv, "Zoë/1", server.Text, []byte(strings.Repeat("y", 10_000)))
		b.wait("$('messages').lastChild?.textContent.includes('more characters')")
		if rows := b.rows(); len(rows) != 500 {
			t.Errorf("%d rows are kept", len(rows))
		} else if last := rows[499]; len(last.Body) > 4200 || last.Size != "10,000 B" {
			t.Errorf("a long message has %d characters shown, size %s", len(last.Body), last.Size)
		}
	})

	t.Run("reconnects", func(t *testing.T) {
		b.t = t
		first := connections(t, srv, "Zoë/1")[0]
		srv.Disconnect(t.Context(), "Zoë/1", 1012, "restart")
		b.wait("$('state').textContent.includes('closed with 1012, restart; again in')")
		b.waitState("open")
		if s := connections(t, srv, "Zoë/1"); len(s) != 1 || s[0].ID == first.ID {
			t.Errorf("%d sessions", len(s))
		}
	})

	t.Run("does not reconnect after 1008", func(t *testing.T) {
		b.t = t
		srv.Disconnect(t.Context(), "Zoë/1", 1008, "not you")
		b.waitState("closed")
		if got := b.text("state"); got != "closed with 1008, not you" {
			t.Errorf("state is %q", got)
		}
		b.click("connect")
		b.waitState("open")
		b.click("connect")
		b.waitState("closed")
		if got := b.text("connect"); got != "Connect" {
			t.Errorf("the button says %q", got)
		}
	})

	t.Run("connects by link", func(t *testing.T) {
		b.t = t
		b.open(page + "#user=bob&topic=a&topic=b")
		b.waitState("open")
		if s := connections(t, srv, "bob"); len(s) != 1 || len(s[0].Topics) != 2 {
			t.Errorf("%d sessions", len(s))
		}
		if got := b.text("curl"); !strings.Contains(got, "/v1/users/bob/push") {
			t.Errorf("the example is %s", got)
		}
	})

	t.Run("echoes", func(t *testing.T) {
		b.t = t
		b.open(page + "#endpoint=/echo")
		b.waitState("open")
		b.fill("text", "hällo\nworld")
		b.click("submit")
		b.waitRows("=== 2")
		want := []row{{"sent", "12 B", "hällo\nworld"}, {"text", "12 B", "hällo\nworld"}}
		for i, got := range b.rows() {
			if got != want[i] {
				t.Errorf("row %d is %q, want %q", i, got, want[i])
			}
		}
	})

	t.Run("sends a token", func(t *testing.T) {
		b.t = t
		b.open(page)
		b.do("$('endpoint').value = '/real'; $('endpoint').dispatchEvent(new Event('input', {bubbles: true}))")
		b.wait("$('user').closest('label').hidden && !$('token').closest('label').hidden")
		b.fill("token", "a+b&c")
		b.fill("topics", "news")
		b.click("connect")
		b.waitState("open")
		if s := connections(t, srv, "carol"); len(s) != 1 || len(s[0].Topics) != 1 {
			t.Errorf("%d sessions", len(s))
		}
		b.wait("location.hash === '#endpoint=%2Freal&topic=news'") // and no token in it
	})

	t.Run("says why it was rejected", func(t *testing.T) {
		b.t = t
		b.open(page)
		b.fill("user", "")
		b.click("connect")
		b.waitState("failed")
		if got := b.text("state"); got != "rejected with 400: no user: connect to /ws?user=NAME" {
			t.Errorf("state is %q", got)
		}
		if got := b.text("connect"); got != "Connect" {
			t.Errorf("the button says %q: it tries again without a user", got)
		}
		b.do("$('endpoint').value = '/real'; $('endpoint').dispatchEvent(new Event('input', {bubbles: true}))")
		b.fill("token", "wrong")
		b.click("connect")
		b.wait("$('state').textContent === 'rejected with 401: the token is not good'")
		b.ignoreFailures("Unexpected response code: 40", "status of 40", "HTTP Authentication failed")
	})

	if len(b.faults) > 0 {
		t.Errorf("the page broke rules:\n%s", strings.Join(b.faults, "\n"))
	}
}

// TestConsolePush: the page pushes if the operator lets it, and the key is right.
func TestConsolePush(t *testing.T) {
	page := Page{Authorizes: func(key string) bool { return key == testKey }}
	srv := start(t, server.Config{}, page)
	b := openBrowser(t)
	b.open("http://" + srv.Addr().String() + "/#user=alice&topic=news")
	b.waitState("open")
	b.fill("pushKey", "wrong")
	b.do("$('push').requestSubmit()")
	b.wait("$('pushed').textContent === 'rejected with 401: no API key of this server'")
	b.ignoreFailures("status of 401")
	b.fill("pushKey", testKey)
	for i, to := range []string{"user", "topic", "all"} {
		b.do("$('pushTo').value = '" + to + "'; $('pushTo').dispatchEvent(new Event('change'))")
		b.fill("pushName", map[string]string{"user": "alice", "topic": "news"}[to])
		b.fill("pushText", "für "+to)
		b.do("$('pushed').textContent = ''; $('push').requestSubmit()")
		b.wait("$('pushed').textContent === 'sent to 1 session'")
		b.waitRows(fmt.Sprint("=== ", i+1))
		if got := b.rows()[i]; got.Kind != "text" || got.Body != "für "+to {
			t.Errorf("%s: got %q", to, got)
		}
	}
	b.wait("!location.href.includes('" + testKey + "')")
	if len(b.faults) > 0 {
		t.Errorf("the page broke rules:\n%s", strings.Join(b.faults, "\n"))
	}
}

// TestConsoleUnreachable: a server stops, and another one starts at its address.
func TestConsoleUnreachable(t *testing.T) {
	srv := start(t, server.Config{}, Page{APIKey: true})
	addr := srv.Addr().String()
	b := openBrowser(t)
	b.open("http://" + addr + "/#user=alice")
	b.waitState("open")
	const curl = "curl -H \"Authorization: Bearer $FANFARE_API_KEY\" \\\n  --json '{\"hello\":\"world\"}' \\\n  http://API/v1/users/alice/push"
	if got := b.text("curl"); got != curl {
		t.Errorf("the example is %s", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	srv.Shutdown(ctx)
	b.wait("$('state').textContent.startsWith('the server cannot be reached; again in')")
	start(t, server.Config{Listen: addr}, Page{})
	b.waitState("open")
}

// TestConsoleV1 follows stored messages over fanfare.v1: a gap, a topic, acknowledgements
// and a reconnect.
func TestConsoleV1(t *testing.T) {
	st, err := inbox.Open(t.Context(), inbox.Config{Dir: t.TempDir(), Messages: 2, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(st.Close)
	srv := start(t, server.Config{Store: st, DurableTopics: []string{"news"}}, Page{})
	stored := func(text string) (s server.Stored) {
		t.Helper()
		s, err := srv.PushStored(t.Context(), "alice", server.Entry{Op: server.Text, Payload: []byte(text)})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	var last server.Stored
	for i := range 5 { // the first three are removed
		last = stored(fmt.Sprint("message ", i))
	}
	b := openBrowser(t)
	fact := func(name, value string) {
		t.Helper()
		quoted, _ := json.Marshal(value)
		b.wait("[...document.querySelectorAll('#facts dt')].some(e => e.textContent === '" + name + "' && e.nextSibling.textContent === " + string(quoted) + ")")
	}
	b.open("http://" + srv.Addr().String() + "/#endpoint=/ws&user=alice&topic=news&protocol=fanfare.v1")
	b.waitState("open")
	b.waitRows("=== 2")
	fact("User", "alice")
	fact("Inbox", fmt.Sprintf("offset %d of epoch %s", last.Offset, last.Epoch))
	fact("Gaps", "1")
	fact("Duplicates", "0")
	if rows := b.rows(); !strings.HasSuffix(rows[1].Body, "message 4") {
		t.Errorf("rows are %q", rows)
	}
	// Messages that the console has acknowledged are read.
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if offset, _, err := st.Acked(t.Context(), store.Box{User: "alice"}, "alice"); err == nil && offset == last.Offset {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it does not acknowledge")
		}
	}
	news, err := srv.PublishStored(t.Context(), "news", server.Entry{Op: server.Text, Payload: []byte("<b>rain</b>")})
	if err != nil {
		t.Fatal(err)
	}
	fact("Topic", fmt.Sprintf("news, offset %d of epoch %s", news.Offset, news.Epoch))
	b.waitRows("=== 3")
	if rows := b.rows(); rows[2].Body != fmt.Sprintf("news, offset %d\n<b>rain</b>", news.Offset) {
		t.Errorf("row is %q", rows[2].Body)
	}
	push(t, srv, "alice", server.Binary, []byte{0, 1})
	b.waitRows("=== 4")
	if rows := b.rows(); rows[3].Kind != "binary" || !strings.HasPrefix(rows[3].Body, "00 01 ") {
		t.Errorf("row is %q", rows[3])
	}
	// It resumes where it was, without duplicates, and without a second gap.
	srv.Disconnect(t.Context(), "alice", 1012, "restart")
	b.wait("$('state').textContent.includes('closed with 1012')")
	last = stored("while away")
	b.waitState("open")
	b.waitRows("=== 5")
	fact("Inbox", fmt.Sprintf("offset %d of epoch %s", last.Offset, last.Epoch))
	fact("Gaps", "1")
	fact("Duplicates", "0")
	b.fill("text", `{"type":"unsubscribe","topic":"news"}`)
	b.click("submit")
	b.wait("![...document.querySelectorAll('#facts dt')].some(e => e.textContent === 'Topic')")
	if len(b.faults) > 0 {
		t.Errorf("the page broke rules:\n%s", strings.Join(b.faults, "\n"))
	}
}
