package fanfarev1

import (
	"strings"
	"testing"
)

func TestEncodeMessage(t *testing.T) {
	controls := strings.Repeat("\x01", 400) // whose escapes add 2000 bytes
	for _, tt := range []struct {
		name string
		m    Message
		want string
	}{
		{"live", Message{Payload: []byte("hi")}, `{"type":"message","text":"hi"}`},
		{"binary", Message{Binary: true, Payload: []byte{0xff}}, `{"type":"message","base64":"/w=="}`},
		{"in an inbox", Message{Payload: []byte("hi"), Epoch: "e", Offset: 7}, `{"type":"message","epoch":"e","offset":7,"text":"hi"}`},
		{"in a topic", Message{Payload: []byte("hi"), Topic: `a"b`, Epoch: "e", Offset: 7, Gap: true},
			`{"type":"message","topic":"a\"b","epoch":"e","offset":7,"gap":true,"text":"hi"}`},
		{"without the epoch", Message{Payload: []byte("hi"), Offset: 7}, `{"type":"message","text":"hi"}`},
		{"escapes", Message{Payload: []byte("\\\"\n\x01ü")}, `{"type":"message","text":"\\\"\n\u0001ü"}`},
		{"too many escapes", Message{Payload: []byte(controls)}, `{"type":"message","base64":"` + strings.Repeat("AQEB", 133) + `AQ==","utf8":true}`},
	} {
		if got := string(tt.m.Encode()); got != tt.want {
			t.Errorf("%s:\n%s, want\n%s", tt.name, got, tt.want)
		}
	}
}

func TestEncodeObject(t *testing.T) {
	zero := uint64(0)
	for want, o := range map[string]Object{
		`{"type":"hello","user":"a","epoch":"e","offset":0}`:         {Type: "hello", User: "a", Epoch: "e", Offset: &zero},
		`{"type":"subscribe","topic":"t","gap":true}`:                {Type: "subscribe", Topic: "t", Gap: true},
		"{\"type\":\"error\",\"code\":\"c\",\"message\":\"\ufffd\"}": {Type: "error", Code: "c", Message: "\xff"},
	} {
		if got := string(o.Encode()); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestParseCommand(t *testing.T) {
	var c Command
	if err := c.Parse([]byte(`{"type":"ack","topic":"t","epoch":"e","offset":7}`)); err != nil || c.Type != "ack" || c.Topic != "t" || c.Epoch != "e" || *c.Offset != 7 {
		t.Errorf("%+v, %v", c, err)
	}
	for payload, want := range map[string]string{
		`{"tipe":"ack"}`:              `unknown field "tipe"`,
		`{"type":7}`:                  `field "type" has the wrong type`,
		`{"offset":-1}`:               `field "offset" has the wrong type`,
		`[]`:                          "expected one JSON object",
		`{"type":"ack"} {}`:           "expected one JSON object",
		`{"type":"ack","type":"ack"}`: `expected one JSON object`,
		"":                            "expected one JSON object",
		`{"` + strings.Repeat("x", 1000) + `":1}`: `unknown field "` + strings.Repeat("x", 40) + `…"`,
	} {
		if err := new(Command).Parse([]byte(payload)); err == nil || err.Error() != want {
			t.Errorf("%.60s: %v, want %s", payload, err, want)
		}
	}
}

func TestEncodePresence(t *testing.T) {
	for want, p := range map[string]Presence{
		`{"type":"presence","topic":"room","members":2,"joined":["al","b\"o"],"left":["cy"]}`: {"room", 2, []string{"al", `b"o`}, []string{"cy"}},
		`{"type":"presence","topic":"room","members":0,"left":["al"]}`:                        {"room", 0, nil, []string{"al"}},
		`{"type":"presence","topic":"room","members":15000}`:                                  {"room", 15000, nil, nil},
	} {
		if got := string(p.Encode()); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
