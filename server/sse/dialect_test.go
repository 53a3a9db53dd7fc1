package sse_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"fanfare/server"
	"fanfare/server/sse"
)

// events parses bytes that end with an event.
func events(t *testing.T, b []byte) (all []event) {
	t.Helper()
	p := newParser(bytes.NewReader(b))
	for {
		e, err := p.next()
		if err == io.EOF {
			return all
		}
		all = append(all, e)
	}
}

func TestEncode(t *testing.T) {
	for _, test := range []struct {
		name    string
		content server.Content
		plain   string // the bytes
		v1      string // the data
	}{
		{"text", server.Content{Op: server.Text, Payload: []byte("hi")}, "data: hi\n\n", `{"type":"message","text":"hi"}`},
		{"empty", server.Content{Op: server.Text}, "data: \n\n", `{"type":"message","text":""}`},
		{"spaces", server.Content{Op: server.Text, Payload: []byte("  a:b ")}, "data:   a:b \n\n", `{"type":"message","text":"  a:b "}`},
		{"lines", server.Content{Op: server.Text, Payload: []byte("a\nb\r\nc\rd\n\re")}, "data: a\ndata: b\ndata: c\ndata: d\ndata: \ndata: e\n\n",
			`{"type":"message","text":"a\nb\u000d\nc\u000dd\n\u000de"}`},
		{"line end at the end", server.Content{Op: server.Text, Payload: []byte("a\n")}, "data: a\ndata: \n\n", `{"type":"message","text":"a\n"}`},
		{"what looks like fields", server.Content{Op: server.Text, Payload: []byte("\n\nid: 7\n:x")}, "data: \ndata: \ndata: id: 7\ndata: :x\n\n",
			`{"type":"message","text":"\n\nid: 7\n:x"}`},
		{"binary", server.Content{Op: server.Binary, Payload: []byte{0, 10, 13, 255}}, "event: binary\ndata: AAoN/w==\n\n", `{"type":"message","base64":"AAoN/w=="}`},
		{"stored", server.Content{Op: server.Text, Payload: []byte("2:1"), Topic: "news", Epoch: "e", Offset: 7}, "data: 2:1\n\n",
			`{"type":"message","topic":"news","epoch":"e","offset":7,"text":"2:1"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := string(sse.Plain().Encode(test.content).Plain()); got != test.plain {
				t.Errorf("plain: %q, want %q", got, test.plain)
			}
			got := events(t, sse.V1().Encode(test.content).Plain())
			if want := []event{{"message", test.v1, ""}}; !slices.Equal(got, want) {
				t.Errorf("v1: %q, want %q", got, want)
			}
		})
	}
}

// A gap precedes the message, and the id is in the block of the message: a client that has got
// the gap only does not resume after the message.
func TestEncodeGap(t *testing.T) {
	at := []server.Position{{Epoch: "e", Offset: 7}}
	for _, d := range []server.Stream{sse.Plain(), sse.V1()} {
		b := d.Encode(server.Content{Op: server.Text, Payload: []byte("hi"), Topic: "news", Epoch: "e", Offset: 7, Gap: true}).Plain()
		got := events(t, d.Mark(nil, b, "u", at))
		if len(got) != 2 || got[0] != (event{"gap", `{"topic":"news"}`, ""}) || got[1].name != "message" || got[1].id == "" {
			t.Errorf("%q: %q", d.Protocol(), got)
		}
		if strings.Contains(got[1].data, "gap") {
			t.Errorf("the message has the gap, too: %s", got[1].data)
		}
	}
}

func TestGoodbye(t *testing.T) {
	for _, test := range []struct {
		code     server.Code
		id       string
		from, to int // of retry
	}{
		{server.StatusGoingAway, "", 5000, 15000},
		{server.StatusTryAgainLater, "", 5000, 15000},
		{server.StatusPolicyViolation, "close-1008", 0, 0},
		{server.StatusForbidden, "close-3003", 0, 0},
		{server.StatusUnauthorized, "", 0, 0},
		{4001, "", 0, 0},
	} {
		p := newParser(bytes.NewReader(sse.Plain().Goodbye(test.code, "a \"b\"\n")))
		e, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		var data struct {
			Code   int
			Reason string
		}
		if err := json.Unmarshal([]byte(e.data), &data); err != nil || e.name != "close" || data.Code != int(test.code) || data.Reason != "a \"b\"\n" {
			t.Errorf("%d: %q", test.code, e)
		}
		if e.id != test.id || p.retry < test.from || p.retry > test.to {
			t.Errorf("%d: id %q, retry %d", test.code, e.id, p.retry)
		}
	}
}

// The retry of the preamble is spread.
func TestPreamble(t *testing.T) {
	seen := map[int]bool{}
	for range 100 {
		p := newParser(bytes.NewReader(sse.Plain().Preamble()))
		if _, err := p.next(); err != io.EOF || p.retry < 2000 || p.retry >= 6000 {
			t.Fatalf("retry %d, %v", p.retry, err)
		}
		seen[p.retry] = true
	}
	if len(seen) < 50 {
		t.Errorf("%d different times of 100", len(seen))
	}
}

// normal is what a client makes of a text's line ends.
var normal = strings.NewReplacer("\r\n", "\n", "\r", "\n")

func FuzzEncode(f *testing.F) {
	f.Add([]byte("a\r\nb\r\rc\n\nid: 1\n"), []byte(":x"), false)
	f.Add([]byte{0xef, 0xbb, 0xbf, 0}, []byte{0xff}, true)
	f.Fuzz(func(t *testing.T, first, second []byte, binary bool) {
		var stream []byte
		var want []event
		stream = append(stream, sse.Plain().Preamble()...)
		at := []server.Position{{Epoch: "e", Offset: 1}}
		for _, payload := range [][]byte{first, second} {
			c := server.Content{Op: server.Text, Payload: payload}
			e := event{"message", normal.Replace(string(payload)), "AvAAAoZM6AEBZQAB"}
			if binary {
				c.Op, e = server.Binary, event{"binary", base64.StdEncoding.EncodeToString(payload), "AvAAAoZM6AEBZQAB"}
			} else if !utf8.Valid(payload) {
				return // the server checks texts
			}
			stream = sse.Plain().Mark(stream, sse.Plain().Encode(c).Plain(), "u", at)
			stream = append(stream, sse.Plain().Heartbeat()...)
			want = append(want, e)
			if !binary {
				stream = append(stream, sse.V1().Encode(c).Plain()...)
				object, err := json.Marshal(string(payload))
				if err != nil {
					t.Fatal(err)
				}
				var text string
				json.Unmarshal(object, &text)
				want = append(want, event{"message", text, "AvAAAoZM6AEBZQAB"})
			}
		}
		got := events(t, stream)
		if len(got) != len(want) {
			t.Fatalf("%d events, want %d: %q", len(got), len(want), stream)
		}
		for i := range got {
			if strings.HasPrefix(got[i].data, `{"type":"message"`) && i%2 == 1 && !binary {
				var m struct{ Text, Base64 string }
				if err := json.Unmarshal([]byte(got[i].data), &m); err != nil {
					t.Fatal(err)
				}
				if m.Base64 != "" {
					b, _ := base64.StdEncoding.DecodeString(m.Base64)
					m.Text = string(b)
				}
				got[i].data = m.Text
			}
			if got[i] != want[i] {
				t.Errorf("event %d: %q, want %q", i, got[i], want[i])
			}
		}
	})
}

// Mark does not allocate: it runs for each receiver of a stored message.
func TestMarkAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	at := []server.Position{{Epoch: "0123456789abcdef", Offset: 1 << 40}}
	for i := range 100 {
		at = append(at, server.Position{Topic: strings.Repeat("t", i+1), Epoch: "fedcba9876543210", Offset: uint64(i)})
	}
	d, encoded, b := sse.Plain(), sse.Plain().Encode(server.Content{Op: server.Text, Payload: []byte("hi")}).Plain(), make([]byte, 0, 4<<10)
	if n := testing.AllocsPerRun(100, func() { b = d.Mark(b[:0], encoded, "u", at) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	if len(b) > 2<<10 {
		t.Errorf("%d bytes for 100 topics: a request has room for some KiB", len(b))
	}
}

// waitFor is a deadline that only a broken test reaches.
const waitFor = 30 * time.Second

// TestEncodePresence: presence messages are an event of their own, in both dialects.
func TestEncodePresence(t *testing.T) {
	object := `{"type":"presence","topic":"room","members":1,"joined":["al"]}`
	for _, d := range []server.Stream{sse.Plain(), sse.V1()} {
		if _, ok := d.(server.PresenceDialect); !ok {
			t.Error("no presence messages are sent to it")
		}
		got := events(t, d.Encode(server.Content{Op: server.Text, Payload: []byte(object), Presence: true}).Plain())
		if want := []event{{"presence", object, ""}}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
