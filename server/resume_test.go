package server

import (
	"context"
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
		rejection   string // a part of its text; empty: none
	}{
		{"none", "user=a", []string{"news"}, nil, ""},
		{"the user's", "user=a&offset=41", nil, map[string]uint64{"": 41}, ""},
		{"a topic's", "offset.news=7", []string{"news"}, map[string]uint64{"news": 7}, ""},
		{"both, and zero is one", "offset.news=0&offset=0", []string{"news"}, map[string]uint64{"": 0, "news": 0}, ""},
		{"a topic with dots", "offset.a.b=1", []string{"a", "a.b"}, map[string]uint64{"a.b": 1}, ""},
		{"a topic that is named twice", "offset.t=1", []string{"t", "t"}, map[string]uint64{"t": 1}, ""},
		{"of another topic", "offset.other=x", []string{"news"}, nil, `"offset.other" has no effect: the session does not subscribe`},
		{"of no topic", "offset.=1", []string{"news"}, nil, `"offset." has no effect`},
		{"other names", "offsets=2&offset_=3", []string{"news"}, nil, ""}, // are rejected by Query.Check
		{"twice", "offset=1&offset=1", nil, nil, `"offset" is repeated`},
		{"twice, and the first is empty", "offset=&offset=2", nil, nil, `"offset" is repeated`},
		{"twice for a topic", "offset.news=1&offset.news=2", []string{"news"}, nil, `"offset.news" is repeated`},
		{"empty", "offset=", nil, nil, ""},
		{"encoded", "%6Fffset.a+%C3%BC=%31", []string{"a ü"}, map[string]uint64{"a ü": 1}, ""},
		{"of as many topics as there may be", query.String(), slices.Collect(maps.Keys(many)), many, ""},
		{"no number", "offset=x", nil, nil, "offset: expected the offset"},
		{"no number for a topic", "offset.news=-1", []string{"news"}, nil, "offset.news: expected the offset"},
		{"beyond 63 bits", "offset=9223372036854775808", nil, nil, "offset: expected the offset"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := V1().Resume(requestWithQuery(withEpochs(tt.query)), "u", tt.topics)
			if (err == nil) != (tt.rejection == "") || err != nil && !strings.Contains(err.Error(), tt.rejection) {
				t.Fatalf("%v, want %q", err, tt.rejection)
			}
			if err == nil && !maps.Equal(got, positions(tt.want)) {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

func TestResumeEpochs(t *testing.T) {
	for query, want := range map[string]map[string]Position{
		"offset=41&epoch=k3f9":                {"": {Epoch: "k3f9", Offset: 41}},
		"epoch=k3f9&offset=41":                {"": {Epoch: "k3f9", Offset: 41}},
		"offset=0":                            {"": {}},
		"offset=&epoch=":                      {},
		"epoch.news=a&offset.news=2":          {"news": {Topic: "news", Epoch: "a", Offset: 2}},
		"offset.news=2&epoch.news=a&offset=0": {"": {}, "news": {Topic: "news", Epoch: "a", Offset: 2}},
	} {
		if got, err := V1().Resume(requestWithQuery(query), "u", []string{"news"}); err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: %v, %v, want %v", query, got, err, want)
		}
	}
}

// An offset without its epoch, an epoch without its offset, and two epochs.
func TestResumeRejectsHalves(t *testing.T) {
	for query, want := range map[string]string{
		"offset=1":                     "an offset without its epoch",
		"offset.news=1":                "an offset without its epoch",
		"offset=1&epoch=":              "an offset without its epoch",
		"epoch=e":                      "an epoch without its offset",
		"epoch=e&offset=":              "an epoch without its offset",
		"epoch.news=e&offset=0":        "an epoch without its offset",
		"offset=1&epoch=e&epoch=f":     `"epoch" is repeated`,
		"offset=1&epoch=e&epoch.new=f": `"epoch.new" has no effect`,
	} {
		if got, err := V1().Resume(requestWithQuery(query), "u", []string{"news"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v, want %q", query, got, err, want)
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

// withEpochs adds an epoch for each offset that is not empty.
func withEpochs(query string) string {
	values, _ := url.ParseQuery(query)
	for name := range values {
		if topic, ok := strings.CutPrefix(name, "offset"); ok && values.Get(name) != "" && (topic == "" || topic[0] == '.') {
			query += "&" + url.QueryEscape("epoch"+topic) + "=e"
		}
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
		if _, err := V1().Resume(r, "u", names); err != nil {
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
				if _, err := V1().Resume(r, "u", names); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestResumeNotDurable: a client that names a position in a topic of which nothing is stored for it
// is told of the gap, after hello, and only if it was not subscribed already.
func TestResumeNotDurable(t *testing.T) {
	hello, inbox, gap := "hello gap=false", "hello gap=false", "subscribe live gap=true"
	durable := "subscribe news.a gap=false"
	for _, test := range []struct {
		name    string
		stores  bool
		target  string
		command string // sent after the first greeting; empty: none
		want    []string
	}{
		{"query", true, "/ws?user=a&topic=live&offset.live=7&epoch.live=e", "", []string{hello, gap, inbox}},
		{"query with zero", true, "/ws?user=a&topic=live&offset.live=0", "", []string{hello, gap, inbox}},
		{"query, and a durable one", true, "/ws?user=a&topic=live&topic=news.a&offset.live=7&epoch.live=e&offset.news.a=0", "", []string{hello, gap, inbox, durable}},
		{"query without a position", true, "/ws?user=a&topic=live", "", []string{inbox}},
		{"query without a store", false, "/ws?user=a&topic=live&offset.live=7&epoch.live=e", "", []string{hello, gap}},
		{"query without a user", true, "/ws?offset.news.a=7&epoch.news.a=e", "", []string{"hello gap=false", "subscribe news.a gap=true"}},
		{"subscribe", true, "/ws?user=a", `{"type":"subscribe","topic":"live","offset":7,"epoch":"e"}`, []string{inbox, gap}},
		{"subscribe without a position", true, "/ws?user=a", `{"type":"subscribe","topic":"live"}`, []string{inbox, "subscribe live gap=false"}},
		{"subscribe again", true, "/ws?user=a&topic=live", `{"type":"subscribe","topic":"live","offset":7,"epoch":"e"}`, []string{inbox, "subscribe live gap=false"}},
		{"subscribe without a store", false, "/ws?user=a", `{"type":"subscribe","topic":"live","offset":7,"epoch":"e"}`, []string{hello, gap}},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := Config{}
			if test.stores {
				cfg = withTopics(t)
			}
			if test.name == "query without a user" {
				cfg.Endpoints[0].Identifier = func(context.Context, *Request) (Identity, error) {
					return Identity{Topics: []string{"news.a"}}, nil
				}
			}
			srv := start(t, cfg)
			c := dial(t, srv, test.target, speaksV1)
			hear := func() string {
				m := c.hear()
				return strings.Join(strings.Fields(fmt.Sprint(m.Type, " ", m.Topic, " gap=", m.Gap)), " ")
			}
			for i, want := range test.want {
				if i == len(test.want)-1 && test.command != "" {
					c.send(Text, test.command)
				}
				if got := hear(); got != want {
					t.Errorf("heard %q, want %q", got, want)
				}
			}
			c.send(Text, `{"type":"unsubscribe","topic":"other"}`)
			if got := hear(); got != "unsubscribe other gap=false" {
				t.Errorf("heard %q as well", got)
			}
		})
	}
}
