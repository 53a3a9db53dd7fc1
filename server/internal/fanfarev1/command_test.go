package fanfarev1

import (
	"errors"
	"reflect"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// parseByPackage is Parse by package json.
func parseByPackage(payload []byte) (c Command, err error) {
	var members struct {
		Type   string  `json:"type"`
		Topic  string  `json:"topic"`
		Epoch  string  `json:"epoch"`
		Offset *uint64 `json:"offset"`
		Rewind *uint64 `json:"rewind"`
		Token  string  `json:"token"`
		ID     string  `json:"id"`
		Text   *string `json:"text"`
		Base64 *string `json:"base64"`
	}
	err = json.Unmarshal(payload, &members, json.RejectUnknownMembers(true))
	if err == nil {
		return Command(members), nil
	}
	var member *json.SemanticError
	if !errors.As(err, &member) || member.JSONPointer == "" {
		return c, errNoObject
	}
	name := Quote(string(member.JSONPointer.LastToken()))
	if errors.Is(err, json.ErrUnknownName) {
		return c, errors.New("unknown field " + name)
	}
	return c, errors.New("field " + name + " has the wrong type")
}

var commandCases = []string{
	`{"type":"ack","offset":42,"epoch":"a"}`, `{"type":"subscribe","topic":"n\u00e9\n","offset":0}`, `{"type":"refresh","token":"x"} `,
	"", " ", "{", "}", "{}", "null", "true", "7", `"x"`, "[]", "{}{}", "{} x", "null null", `{"type"}`, `{"type":}`, `{"type":"a",}`, `{"type":"a"]`,
	`{"type":"a","type":"b"}`, `{"type":null,"offset":null}`, `{"Type":"a"}`, `{"tipe":"a"}`, `{"a/b~c":1}`, `{"\u0074ype":"a"}`, `{"":1}`,
	`{"type":1}`, `{"type":{}}`, `{"type":{x}}`, `{"type":["a"]}`, `{"type":true}`, `{"offset":"1"}`, `{"offset":-1}`, `{"offset":-0}`, `{"offset":1.0}`,
	`{"type":"subscribe","topic":"t","rewind":1}`, `{"rewind":null}`, `{"rewind":"1"}`, `{"rewind":-1}`, `{"offset":1,"rewind":2}`,
	`{"offset":1e2}`, `{"offset":01}`, `{"offset":18446744073709551615}`, `{"offset":18446744073709551616}`, `{"offset":[]}`,
	`{"type":"publish","id":"7","topic":"t","text":"a\u0000b"}`, `{"type":"request","base64":"","text":null}`, `{"text":7}`, `{"base64":{x}}`, `{"text":"\ud800"}`, `{"id":[]}`,
	"{\"type\":\"\xff\"}", "{\"\xff\":1}", `{"type":"\ud800"}`, "{\"type\":\"\x01\"}", `{"tipe":{x}`, `{"topic":"a" "b"}`, `{1:2}`, `{null:1}`,
}

// TestParse compares Parse with package json.
func TestParse(t *testing.T) {
	for _, payload := range commandCases {
		compareParse(t, []byte(payload))
	}
}

func FuzzParse(f *testing.F) {
	for _, payload := range commandCases {
		f.Add([]byte(payload))
	}
	f.Fuzz(func(t *testing.T, payload []byte) { compareParse(t, payload) })
}

func compareParse(t *testing.T, payload []byte) {
	t.Helper()
	var c Command
	err := c.Parse(payload)
	want, wantErr := parseByPackage(payload)
	if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
		t.Errorf("%q: %v, want %v", payload, err, wantErr)
	}
	if err == nil && !reflect.DeepEqual(c, want) {
		t.Errorf("%q: %+v, want %+v", payload, c, want)
	}
}

// TestObject reads objects with package json.
func TestObject(t *testing.T) {
	type object struct {
		Type    string  `json:"type"`
		ID      string  `json:"id,omitempty"`
		Code    string  `json:"code,omitempty"`
		Message string  `json:"message,omitempty"`
		User    string  `json:"user,omitempty"`
		Topic   string  `json:"topic,omitempty"`
		Epoch   string  `json:"epoch,omitempty"`
		Offset  *uint64 `json:"offset,omitzero"`
		Gap     bool    `json:"gap,omitzero"`
		Expires int64   `json:"expires,omitzero"`

		ExpiresIn int64  `json:"expires_in,omitzero"`
		Ticket    string `json:"ticket,omitempty"`
	}
	zero, most := uint64(0), ^uint64(0)
	for _, o := range []Object{
		{Type: "hello"}, {Type: "hello", User: "é\"\\/\u2028<", Epoch: "e", Offset: &zero}, {Type: "subscribe", Topic: "n", Offset: &most, Gap: true},
		{Type: "error", Code: "c", Message: "tab\t, line\n, bell\a, \x7f and \xff\xfe\xc3"}, {Type: "refresh", Expires: -7, ExpiresIn: 3600, Ticket: "A-_9"},
		{Type: "publish", ID: "a\"b\xff", Topic: "t"},
	} {
		want, err := json.Marshal(object(o), jsontext.AllowInvalidUTF8(true))
		if err != nil {
			t.Fatal(err)
		}
		var a, b object
		got := o.Encode()
		if err := json.Unmarshal(got, &a, json.RejectUnknownMembers(true)); err != nil {
			t.Errorf("%s: %v", got, err)
		}
		if err := json.Unmarshal(want, &b); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(a, b) {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
