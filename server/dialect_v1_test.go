package server

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func TestResume(t *testing.T) {
	many := make(map[string]uint64)
	var query strings.Builder
	for i := range 100 {
		many[fmt.Sprint("t", i)] = uint64(i)
		fmt.Fprintf(&query, "&offset.t%d=%d", i, i)
	}
	tests := []struct {
		name, query string
		topics      []string
		want        map[string]uint64
		refusal     string // a part of its text; empty: none
	}{
		{"none", "user=a", []string{"news"}, nil, ""},
		{"the user's", "user=a&offset=41", nil, map[string]uint64{"": 41}, ""},
		{"a topic's", "offset.news=7", []string{"news"}, map[string]uint64{"news": 7}, ""},
		{"both, and zero is one", "offset.news=0&offset=0", []string{"news"}, map[string]uint64{"": 0, "news": 0}, ""},
		{"a topic with dots", "offset.a.b=1", []string{"a", "a.b"}, map[string]uint64{"a.b": 1}, ""},
		{"a topic that is followed twice", "offset.t=1", []string{"t", "t"}, map[string]uint64{"t": 1}, ""},
		{"of a topic that is not followed", "offset.other=x", []string{"news"}, nil, ""},
		{"of no topic", "offset.=1&offsets=2&offset_=3", []string{"news"}, nil, ""},
		{"the first counts", "offset=1&offset=2&offset=x", nil, map[string]uint64{"": 1}, ""},
		{"also if it is empty", "offset=&offset=2", nil, nil, ""},
		{"but not if it is malformed", "offset=%&offset=2", nil, map[string]uint64{"": 2}, ""},
		{"encoded", "%6Fffset.a+%C3%BC=%31", []string{"a ü"}, map[string]uint64{"a ü": 1}, ""},
		{"name that is malformed", "offset.%zz=1", []string{"%zz"}, nil, ""},
		{"of as many topics as there may be", query.String(), slices.Collect(maps.Keys(many)), many, ""},
		{"no number", "offset=x", nil, nil, "offset: expected the offset"},
		{"no number for a topic", "offset.news=-1", []string{"news"}, nil, "offset.news: expected the offset"},
		{"beyond 63 bits", "offset=9223372036854775808", nil, nil, "offset: expected the offset"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := V1.Resume(requestWithQuery(withEpochs(tt.query, tt.topics)), tt.topics)
			if (err == nil) != (tt.refusal == "") || err != nil && !strings.Contains(err.Error(), tt.refusal) {
				t.Fatalf("%v, want %q", err, tt.refusal)
			}
			if err == nil && !maps.Equal(got, positions(tt.want)) {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

func TestResumeEpochs(t *testing.T) {
	for query, want := range map[string]map[string]Position{
		"offset=41&epoch=k3f9":                    {"": {Epoch: "k3f9", Offset: 41}},
		"epoch=k3f9&offset=41":                    {"": {Epoch: "k3f9", Offset: 41}},
		"epoch=k3f9":                              {},
		"epoch.news=a&offset=0":                   {"": {}},
		"epoch.news=a&offset.news=2&epoch=b":      {"news": {Topic: "news", Epoch: "a", Offset: 2}},
		"offset.news=2&epoch.news=a&epoch.news=b": {"news": {Topic: "news", Epoch: "a", Offset: 2}},
	} {
		if got, err := V1.Resume(requestWithQuery(query), []string{"news"}); err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: %v, %v, want %v", query, got, err, want)
		}
	}
}

func TestResumeOffsetNeedsEpoch(t *testing.T) {
	for _, query := range []string{"offset=1", "offset.news=1&epoch=e", "offset=1&epoch="} {
		if got, err := V1.Resume(requestWithQuery(query), []string{"news"}); err == nil || !strings.Contains(err.Error(), "epoch") {
			t.Errorf("%s: %v, %v", query, got, err)
		}
	}
}

// manyPairs is the query that is the most work for its length: each pair has to be
// decoded. There are topics besides.
func manyPairs(length, topics int) (r *Request, names []string, pairs int) {
	for i := range topics {
		names = append(names, fmt.Sprint("t", i))
	}
	query := strings.Repeat("+&", length/2)
	return requestWithQuery(query), names, len(query) / 2
}

func requestWithQuery(query string) *Request {
	r := new(Request)
	r.head.Query = []byte(query)
	return r
}

// withEpochs adds the epoch of each topic and of the inbox.
func withEpochs(query string, topics []string) string {
	query += "&epoch=e"
	for _, t := range topics {
		query += "&epoch." + url.QueryEscape(t) + "=e"
	}
	return query
}

// positions are those of epoch e.
func positions(offsets map[string]uint64) map[string]Position {
	all := make(map[string]Position)
	for topic, offset := range offsets {
		all[topic] = Position{Topic: topic, Epoch: "e", Offset: offset}
	}
	return all
}

// TestResumeWalksQueryOnce: the query is walked once, however many topics there are.
// Walks are counted by what they decode, which is allocated.
func TestResumeWalksQueryOnce(t *testing.T) {
	r, names, pairs := manyPairs(7<<10, 100)
	allocs := testing.AllocsPerRun(10, func() {
		if _, err := V1.Resume(r, names); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > float64(pairs) {
		t.Errorf("%v allocations for %d pairs", allocs, pairs)
	}
}

func BenchmarkResume(b *testing.B) {
	for _, topics := range []int{1, 100} {
		b.Run(fmt.Sprint("topics=", topics), func(b *testing.B) {
			r, names, _ := manyPairs(7<<10, topics)
			for b.Loop() {
				if _, err := V1.Resume(r, names); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
