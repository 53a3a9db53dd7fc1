package console

import (
	"encoding/json"
	"strings"
	"testing"
)

// row is a message as the console shows it.
type row struct{ Kind, Size, Body string }

// rows of the console's list, without its notes.
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

func TestConsole(t *testing.T) {
	srv := start(t, Config{Endpoints: []Endpoint{Push("/ws"), Echo("/echo"), {Path: "/real", Identify: func(r *Request) (Identity, error) {
		if r.Query("token") != "a+b&c" {
			return Identity{}, Refuse(401, "no")
		}
		return Identity{User: "carol", Topics: r.QueryAll("topic")}, nil
	}}}})
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
		sessions := srv.Connections("Zoë/1")
		if len(sessions) != 1 {
			t.Fatalf("%d sessions", len(sessions))
		}
		if topics := strings.Join(sessions[0].Topics(), " "); topics != "news weather" && topics != "weather news" {
			t.Errorf("topics are %q", topics)
		}
		srv.Push("Zoë/1", Text, []byte(`{"title":"<img src=x onerror=alert(1)>","n":1}`))
		srv.Push("Zoë/1", Binary, []byte("fan\x00\xff"))
		srv.Publish("weather", Text, []byte("rain 🌧"))
		srv.Broadcast(Text, nil)
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

	t.Run("bounds what it keeps", func(t *testing.T) {
		b.t = t
		for range 700 {
			srv.Push("Zoë/1", Text, []byte("x"))
		}
		srv.Push("Zoë/1", Text, []byte(strings.Repeat("y", 10_000)))
		b.wait("$('messages').lastChild?.textContent.includes('more characters')")
		if rows := b.rows(); len(rows) != 500 {
			t.Errorf("%d rows are kept", len(rows))
		} else if last := rows[499]; len(last.Body) > 4200 || last.Size != "10,000 B" {
			t.Errorf("a long message has %d characters shown, size %s", len(last.Body), last.Size)
		}
	})

	t.Run("comes back", func(t *testing.T) {
		b.t = t
		first := srv.Connections("Zoë/1")[0]
		first.Close(1012, "restart")
		b.wait("$('state').textContent.includes('closed with 1012, restart; again in')")
		b.waitState("open")
		if s := srv.Connections("Zoë/1"); len(s) != 1 || s[0] == first {
			t.Errorf("%d sessions", len(s))
		}
	})

	t.Run("stays away when told so", func(t *testing.T) {
		b.t = t
		srv.Kick("Zoë/1", 1008, "not you")
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
		if s := srv.Connections("bob"); len(s) != 1 || len(s[0].Topics()) != 2 {
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
		if s := srv.Connections("carol"); len(s) != 1 || len(s[0].Topics()) != 1 {
			t.Errorf("%d sessions", len(s))
		}
		b.wait("location.hash === '#endpoint=%2Freal&topic=news'") // and no token in it
	})

	t.Run("says that it is refused", func(t *testing.T) {
		b.t = t
		b.open(page)
		b.fill("user", "")
		b.click("connect")
		b.wait("$('state').textContent.startsWith('refused')")
		b.click("connect")
		b.waitState("closed")
		// Chromium logs the refused handshake; that is no fault of the page.
		var faults []string
		for _, f := range b.faults {
			if !strings.Contains(f, "Unexpected response code: 400") {
				faults = append(faults, f)
			}
		}
		b.faults = faults
	})

	if len(b.faults) > 0 {
		t.Errorf("the page broke rules:\n%s", strings.Join(b.faults, "\n"))
	}
}
