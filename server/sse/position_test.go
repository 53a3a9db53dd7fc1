package sse

import (
	"maps"
	"math"
	"testing"

	"fanfare/server"
)

func TestID(t *testing.T) {
	topics := []string{"news", "scores.final", "übung"}
	for _, test := range []struct {
		name string
		at   []server.Position
	}{
		{"inbox", []server.Position{{Epoch: "k3f9", Offset: 41}}},
		{"offset 0", []server.Position{{Epoch: "k3f9"}}},
		{"greatest offset", []server.Position{{Epoch: "k3f9", Offset: math.MaxInt64}}},
		{"topic alone", []server.Position{{Topic: "news", Epoch: "x", Offset: 1}}},
		{"one epoch", []server.Position{{Epoch: "k", Offset: 41}, {Topic: "news", Epoch: "k", Offset: 7}}},
		{"several epochs", []server.Position{{Epoch: "a", Offset: 1}, {Topic: "news", Epoch: "b", Offset: 2}, {Topic: "übung", Epoch: "a", Offset: 3}, {Topic: "scores.final", Epoch: "c", Offset: 4}}},
	} {
		id := string(appendID(nil, "alice", test.at))
		want := make(map[string]server.Position)
		for _, p := range test.at {
			want[p.Topic] = p
		}
		if got, err := parseID(id, "alice", topics); err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: %s is %v, %v", test.name, id, got, err)
		}
		delete(want, "news")
		if got, err := parseID(id, "alice", topics[1:]); err != nil || !maps.Equal(got, want) {
			t.Errorf("%s, not subscribed to news: %v, %v", test.name, got, err)
		}
	}
}

// TestIDOfAnotherUser: the positions of another user, or of nobody known, are in no history.
func TestIDOfAnotherUser(t *testing.T) {
	at := []server.Position{{Epoch: "k", Offset: 41}, {Topic: "news", Epoch: "n", Offset: 7}}
	for name, id := range map[string]string{
		"of bob":       string(appendID(nil, "bob", at)),
		"of no user":   string(appendID(nil, "", at)),
		"of version 1": "AQIBawFuACkDtFYBAAAABw",
	} {
		got, err := parseID(id, "alice", []string{"news"})
		if err != nil || got[""] != (server.Position{Epoch: foreign, Offset: 41}) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		for topic, p := range got {
			if p.Epoch != foreign {
				t.Errorf("%s: %q: %v", name, topic, p)
			}
		}
	}
}

func TestMalformedID(t *testing.T) {
	for _, id := range []string{
		"x", "!!!!", "AQ", "AQA", "AwEBZQAB", "Ag", "AgAAAAAA", // another version, half a user
		"AQEBZQA", "AQEBZQIB", "AQEAAAE", // no offset, no such epoch, an empty epoch
		"AQEBZQABAAE",          // the inbox twice
		"AQEBZQABAf8",          // half a topic
		"AQEBZQD//////////",    // not the alphabet
		"AQEBZQCAgICAgICAgIAB", // offset 2^63
		"AQEB_wAB",             // an epoch that is not UTF-8
		"AQEhAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAQ", // epoch of 33 bytes
	} {
		if got, err := parseID(id, "alice", nil); err == nil {
			t.Errorf("%s is %v", id, got)
		}
	}
}

func FuzzID(f *testing.F) {
	f.Add("AQEBZQAB")
	f.Add("AvAAAoZM6AEBZQAB")
	f.Add("AQIBZQFmAAED_____wHAAQ")
	f.Fuzz(func(t *testing.T, id string) {
		topics := []string{"news", "t"}
		first, err := parseID(id, "alice", topics)
		if err != nil {
			return
		}
		var at []server.Position
		for _, p := range first {
			at = append(at, p)
		}
		if other, err := parseID(string(appendID(nil, "bob", at)), "alice", topics); err == nil {
			for _, p := range other {
				if p.Epoch != foreign {
					t.Errorf("of another user: %v", p)
				}
			}
		}
		again, err := parseID(string(appendID(nil, "alice", at)), "alice", topics)
		if len(at) > 0 && (err != nil || !maps.Equal(first, again)) {
			t.Errorf("%v became %v, %v", first, again, err)
		}
	})
}
