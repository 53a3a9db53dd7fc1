package identity

import (
	"slices"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

func TestLimitsJSON(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Limits
		ok   bool
	}{
		{`{}`, Limits{}, true},
		{`{"messages":10,"topics":5}`, Limits{10, 5}, true},
		{`{"topics":1}`, Limits{0, 1}, true},
		{`{"messages":null,"topics":1}`, Limits{0, 1}, true}, // as serializers write what is not set
		{`{"mesages":10}`, Limits{}, false},
		{`{"messages":0}`, Limits{}, false},
		{`{"messages":-1}`, Limits{}, false},
		{`{"messages":1.5}`, Limits{}, false},
		{`{"messages":"10"}`, Limits{}, false},
		{`{"messages":99999999999}`, Limits{}, false},
		{`{"messages":1,"messages":2}`, Limits{}, false},
		{`10`, Limits{}, false},
		{`null`, Limits{}, false},
		{`[]`, Limits{}, false},
	} {
		var l Limits
		if err := json.Unmarshal([]byte(tt.text), &l); (err == nil) != tt.ok || tt.ok && l != tt.want {
			t.Errorf("%s: %+v, %v", tt.text, l, err)
		}
	}
}

func TestCovers(t *testing.T) {
	for _, tt := range []struct {
		list  []string
		topic string
		want  bool
	}{
		{nil, "a", false}, {[]string{"a"}, "a", true}, {[]string{"a"}, "ab", false}, {[]string{"x", "a*"}, "ab", true},
		{[]string{"a*"}, "a", true}, {[]string{"ab*"}, "a", false}, {[]string{"*"}, "a", true}, {[]string{"a*b"}, "aab", false},
	} {
		if got := Covers(tt.list, tt.topic); got != tt.want {
			t.Errorf("%q covers %q: %t", tt.list, tt.topic, got)
		}
		may := Share(tt.list, []string{"z"}, nil)
		if got := may.Value().Subscribe.Covers(tt.topic); got != tt.want {
			t.Errorf("%q, joined, covers %q: %t", tt.list, tt.topic, got)
		}
		if may != Share(tt.list, []string{"z"}, nil) || !slices.Equal(may.Value().Subscribe.Names(), tt.list) {
			t.Errorf("%q becomes %q", tt.list, may.Value().Subscribe.Names())
		}
	}
	if Share(nil, nil, nil) != None {
		t.Error("capabilities out of nothing")
	}
}

func TestApply(t *testing.T) {
	c, err := ParseChange([]byte(`{"publish":["p"],"limits":{"topics":4},"expires":12.5}`))
	if err != nil {
		t.Fatal(err)
	}
	id := Identity{User: "a", MaySubscribe: []string{"s"}, MayPublish: []string{"old"}, Limits: Limits{Messages: 1}, Expires: time.Unix(1, 0)}
	Apply(&c, &id)
	if id.User != "a" || !slices.Equal(id.MaySubscribe, []string{"s"}) || !slices.Equal(id.MayPublish, []string{"p"}) || id.Limits != (Limits{Topics: 4}) {
		t.Errorf("the identity is %+v", id)
	}
	for _, text := range []string{`{"publish":null}`, `{"publish":[""]}`, `{"expires":-1}`, `{"expires":1,"expires":2}`, `{"revoke":[]}`, `[]`} {
		if _, err := ParseChange([]byte(text)); err == nil {
			t.Errorf("%s is accepted", text)
		}
	}
}
