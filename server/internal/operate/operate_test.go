package operate

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"fanfare/server/node"
)

const pacedID, traceID = "0000000000000cafecafe", "00000000cafecafe"

func TestCheck(t *testing.T) {
	all, over := Target{All: true}, int64(10*time.Second)
	for name, test := range map[string]struct {
		q    Question
		want string // part of the error; empty: none
	}{
		"users":           {Question{Kind: Users, Prefix: "a", After: "b", Limit: 1}, ""},
		"topics":          {Question{Kind: Topics, Limit: node.MaxPage + 1}, ""},
		"no limit":        {Question{Kind: Users}, "limit is 0"},
		"long page":       {Question{Kind: Topics, Limit: node.MaxPage + 2}, "limit is 10002"},
		"prefix":          {Question{Kind: Users, Limit: 1, Prefix: "\xff"}, "UTF-8"},
		"long text":       {Question{Kind: Users, Limit: 1, After: strings.Repeat("a", maxText+1)}, "1025 bytes"},
		"sessions":        {Question{Kind: Sessions, Target: Target{User: "a", Topic: "t", Node: "n"}, Dialect: "plain", Limit: 1}, ""},
		"of no user":      {Question{Kind: Sessions, Limit: 1}, "of no user"},
		"malformed user":  {Question{Kind: Sessions, Target: Target{User: "\n"}, Limit: 1}, "name"},
		"close session":   {Question{Kind: CloseSession, ID: "n/7", Code: 4000, Reason: "bye"}, ""},
		"session's ID":    {Question{Kind: CloseSession, ID: "n/", Code: 4000}, "session"},
		"code":            {Question{Kind: CloseSession, ID: "7", Code: 1006}, "close code 1006"},
		"reason":          {Question{Kind: CloseSession, ID: "7", Code: 1000, Reason: strings.Repeat("x", 124)}, "124 bytes"},
		"close":           {Question{Kind: Close, ID: pacedID, Target: all, Over: over, Code: 1000}, ""},
		"close a node":    {Question{Kind: Close, ID: pacedID, Target: Target{Node: "n"}, Rate: 1, Code: 1000}, ""},
		"close some":      {Question{Kind: Close, ID: pacedID, Target: Target{Topic: "t", Node: "n", Where: "has a"}, Rate: MaxRate, Code: 1000}, ""},
		"close users":     {Question{Kind: Close, ID: pacedID, Target: Target{Users: []string{"a", "b"}}, Rate: 1, Code: 1000}, ""},
		"many users":      {Question{Kind: Close, ID: pacedID, Target: Target{Users: slices.Repeat([]string{"a"}, MaxUsers+1)}, Rate: 1, Code: 1000}, "101 users"},
		"empty user":      {Question{Kind: Close, ID: pacedID, Target: Target{Users: []string{""}}, Rate: 1, Code: 1000}, "name"},
		"two targets":     {Question{Kind: Close, ID: pacedID, Target: Target{All: true, Users: []string{"a"}}, Rate: 1, Code: 1000}, "exclude each other"},
		"no target":       {Question{Kind: Close, ID: pacedID, Target: Target{Where: "has a"}, Rate: 1, Code: 1000}, "no sessions are named"},
		"no pace":         {Question{Kind: Close, ID: pacedID, Target: all, Code: 1000}, "either a time"},
		"two paces":       {Question{Kind: Close, ID: pacedID, Target: all, Over: over, Rate: 1, Code: 1000}, "either a time"},
		"short time":      {Question{Kind: Close, ID: pacedID, Target: all, Over: 1, Code: 1000}, "over is 1ns"},
		"rate":            {Question{Kind: Close, ID: pacedID, Target: all, Rate: MaxRate + 1, Code: 1000}, "rate is 1000001"},
		"negative rate":   {Question{Kind: Close, ID: pacedID, Target: all, Rate: -1, Code: 1000}, "rate is -1"},
		"expression":      {Question{Kind: Close, ID: pacedID, Target: Target{All: true, Where: "has"}, Rate: 1, Code: 1000}, "where:"},
		"close's ID":      {Question{Kind: Close, ID: "x", Target: all, Rate: 1, Code: 1000}, "invalid ID"},
		"close's code":    {Question{Kind: Close, ID: pacedID, Target: all, Rate: 1}, "close code 0"},
		"every close":     {Question{Kind: Closes}, ""},
		"a close":         {Question{Kind: Closes, ID: pacedID}, ""},
		"malformed close": {Question{Kind: Closes, ID: "x"}, "invalid ID"},
		"cancel":          {Question{Kind: CancelClose, ID: pacedID}, ""},
		"cancel nothing":  {Question{Kind: CancelClose}, "invalid ID"},
		"trace":           {Question{Kind: Trace, ID: traceID, Target: Target{User: "a"}, Payload: true, Seen: map[string]uint64{"x": 7}}, ""},
		"trace nobody":    {Question{Kind: Trace, ID: traceID}, "of no user"},
		"trace's ID":      {Question{Kind: Trace, ID: pacedID, Target: Target{User: "a"}}, "invalid ID"},
		"end of a trace":  {Question{Kind: EndTrace, ID: traceID}, ""},
		"end of nothing":  {Question{Kind: EndTrace}, "invalid ID"},
		"kind":            {Question{Kind: "dance"}, `unknown kind "dance"`},
	} {
		err := test.q.Check()
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		if test.want == "" {
			if got, err := Parse(test.q.Encode()); err != nil || !reflect.DeepEqual(*got, test.q) {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		}
	}
	for text, want := range map[string]string{
		`{"kind":"closes","more":1}`:                          "unknown",
		`{"kind":"closes"}x`:                                  "x",
		strings.Repeat(" ", maxQuestion) + `{}`:               "262146 bytes",
		`{"kind":"users","limit":1,"kind":"users"}`:           "duplicate",
		`{"kind":"close_session","id":"7","code":"a string"}`: "string",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v, want %q", text, err, want)
		}
	}
}

func session(nodeName string, number, second int, dialect string, topics ...string) node.SessionDetails {
	return node.SessionDetails{Dialect: dialect, SessionInfo: node.SessionInfo{Node: nodeName, ID: fmt.Sprint(nodeName, "/", number), Opened: time.Unix(int64(second), 0), Topics: topics}}
}

func ids(all []node.SessionDetails) (list []string) {
	for _, s := range all {
		list = append(list, s.ID)
	}
	return list
}

func TestSessionPages(t *testing.T) {
	all := []node.SessionDetails{session("b", 1, 30, "plain", "t"), session("a", 10, 20, "sse", "t", "u"), session("a", 9, 20, "plain"), session("b", 2, 10, "plain", "u")}
	for name, test := range map[string]struct {
		q    Question
		want []string
	}{
		"all":         {Question{Limit: 9}, []string{"b/2", "a/10", "a/9", "b/1"}},
		"first":       {Question{Limit: 2}, []string{"b/2", "a/10"}},
		"following":   {Question{Limit: 2, After: SessionKey(&all[1])}, []string{"a/9", "b/1"}},
		"last":        {Question{Limit: 2, After: SessionKey(&all[0])}, nil},
		"one node":    {Question{Limit: 9, Target: Target{Node: "a"}}, []string{"a/10", "a/9"}},
		"one dialect": {Question{Limit: 9, Dialect: "plain"}, []string{"b/2", "a/9", "b/1"}},
		"one topic":   {Question{Limit: 9, Target: Target{Topic: "u"}}, []string{"b/2", "a/10"}},
		"nothing":     {Question{Limit: 9, Dialect: "pusher"}, nil},
	} {
		if got := ids(test.q.Keep(slices.Clone(all))); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestMergeCloses(t *testing.T) {
	paced := func(id string, n int, s node.PacedState) node.PacedClose {
		return node.PacedClose{Code: 1000, PacedBroadcast: node.PacedBroadcast{ID: id, Receivers: n, Of: 10, State: s}}
	}
	got := MergeCloses([]Answer{{Closes: []node.PacedClose{paced("2", 1, node.PacedDone)}}, {}, {Closes: []node.PacedClose{paced("1", 3, node.PacedDone), paced("2", 2, node.PacedRunning)}}})
	if len(got) != 2 || got[0].ID != "1" || got[0].Receivers != 3 || got[1].Receivers != 3 || got[1].Of != 20 || got[1].State != node.PacedRunning {
		t.Errorf("%+v", got)
	}
}
