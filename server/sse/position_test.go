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
		id := string(appendID(nil, test.at))
		want := make(map[string]server.Position)
		for _, p := range test.at {
			want[p.Topic] = p
		}
		if got, err := parseID(id, topics); err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: %s is %v, %v", test.name, id, got, err)
		}
		delete(want, "news")
		if got, err := parseID(id, topics[1:]); err != nil || !maps.Equal(got, want) {
			t.Errorf("%s, not subscribed to news: %v, %v", test.name, got, err)
		}
	}
}

func TestMalformedID(t *testing.T) {
	for _, id := range []string{
		"x", "!!!!", "AQ", "AQA", "AgEBZQAB", // another version
		"AQEBZQA", "AQEBZQIB", "AQEAAAE", // no offset, no such epoch, an empty epoch
		"AQEBZQABAAE",          // the inbox twice
		"AQEBZQABAf8",          // half a topic
		"AQEBZQD//////////",    // not the alphabet
		"AQEBZQCAgICAgICAgIAB", // offset 2^63
		"AQEhAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAQ", // epoch of 33 bytes
	} {
		if got, err := parseID(id, nil); err == nil {
			t.Errorf("%s is %v", id, got)
		}
	}
}

func FuzzID(f *testing.F) {
	f.Add("AQEBZQAB")
	f.Add("AQIBZQFmAAED_____wHAAQ")
	f.Fuzz(func(t *testing.T, id string) {
		topics := []string{"news", "t"}
		first, err := parseID(id, topics)
		if err != nil {
			return
		}
		var at []server.Position
		for _, p := range first {
			at = append(at, p)
		}
		again, err := parseID(string(appendID(nil, at)), topics)
		if len(at) > 0 && (err != nil || !maps.Equal(first, again)) {
			t.Errorf("%v became %v, %v", first, again, err)
		}
	})
}
