package node

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

func TestCheck(t *testing.T) {
	durable := func(topic string) bool { return topic == "stored" }
	id := strings.Repeat("0", PacedIDSize)
	everyone := Audience{Everyone: true}
	for name, test := range map[string]struct {
		c    Command
		want string // empty: nothing is wrong
	}{
		"push":              {Command{Verb: VerbPush, User: "a", Op: ws.OpText, Payload: []byte("x")}, ""},
		"no user":           {Command{Verb: VerbPush, Op: ws.OpText}, "user or topic is missing"},
		"malformed user":    {Command{Verb: VerbPush, User: "a\n", Op: ws.OpText}, "name"},
		"malformed list":    {Command{Verb: VerbPushMany, Topics: []string{"a\n"}, Op: ws.OpText}, "name"},
		"opcode":            {Command{Verb: VerbPush, User: "a", Op: ws.OpPing}, "invalid opcode 9"},
		"too big":           {Command{Verb: VerbPush, User: "a", Op: ws.OpBinary, Payload: make([]byte, 11)}, "11 bytes, this node's MaxPayload is 10"},
		"not UTF-8":         {Command{Verb: VerbBroadcast, Op: ws.OpText, Payload: []byte("\xff")}, "not UTF-8"},
		"verb":              {Command{Verb: 99}, "unknown verb 99"},
		"user and topic":    {Command{Verb: VerbSessions, User: "a", Topic: "t"}, "missing"},
		"stored":            {Command{Verb: VerbStored, Topic: "stored", Epoch: "e", Offset: 2, Prev: 1}, ""},
		"stored elsewhere":  {Command{Verb: VerbStored, Topic: "live", Epoch: "e", Offset: 2}, "not durable"},
		"stored before":     {Command{Verb: VerbStored, User: "a", Epoch: "e", Offset: 2, Prev: 2}, "invalid offset 2 after 2"},
		"stored somewhen":   {Command{Verb: VerbStored, User: "a", Offset: 2}, "no epoch"},
		"close":             {Command{Verb: VerbClose, User: "a", Code: 4000, Reason: "kicked"}, ""},
		"close code":        {Command{Verb: VerbClose, User: "a", Code: 1006}, "invalid close code 1006"},
		"close reason":      {Command{Verb: VerbClose, User: "a", Code: 4000, Reason: strings.Repeat("x", 124)}, "invalid close reason"},
		"audience":          {Command{Verb: VerbDeliver, Audience: Audience{Everyone: true, Users: []string{"a"}}, Op: ws.OpText}, "everyone includes"},
		"excluded session":  {Command{Verb: VerbDeliver, Audience: Audience{Everyone: true, ExcludeSessions: []string{"n/007"}}, Op: ws.OpText}, "excluded session"},
		"option":            {Command{Verb: VerbDeliver, Audience: everyone, Op: ws.OpText, Conflate: "k"}, ""},
		"unused option":     {Command{Verb: VerbBroadcast, Op: ws.OpText, Conflate: "k"}, "with options"},
		"members":           {Command{Verb: VerbMembers, Topic: "room", Op: ws.OpText, Payload: []byte("{}")}, ""},
		"binary members":    {Command{Verb: VerbMembers, Topic: "room", Op: ws.OpBinary, Payload: []byte("{}")}, "opcode 2"},
		"receipt":           {Command{Verb: VerbReceipt, ID: strings.Repeat("A", receiptIDSize)}, ""},
		"receipt's ID":      {Command{Verb: VerbReceipt, ID: strings.Repeat("a", receiptIDSize)}, "of a receipt"},
		"with a receipt":    {Command{Verb: VerbPaced, Audience: everyone, ID: id, Over: time.Second, Op: ws.OpText, Receipt: strings.Repeat("7", receiptIDSize)}, ""},
		"malformed receipt": {Command{Verb: VerbDeliver, Audience: everyone, Op: ws.OpText, Receipt: "x"}, "of a receipt"},
		"interval":          {Command{Verb: VerbPaced, Audience: everyone, ID: id, Over: time.Second, Op: ws.OpText, Conflate: "k", Interval: Interval(MinInterval)}, ""},
		"unused interval":   {Command{Verb: VerbBroadcast, Op: ws.OpText, Interval: Interval(time.Second)}, "with options"},
		"nameless interval": {Command{Verb: VerbDeliver, Audience: everyone, Op: ws.OpText, Interval: Interval(time.Second)}, "without a name"},
		"negative interval": {Command{Verb: VerbDeliver, Audience: everyone, Op: ws.OpText, Conflate: "k", Interval: -1}, "interval -1ns"},
		"long interval":     {Command{Verb: VerbDeliver, Audience: everyone, Op: ws.OpText, Conflate: "k", Interval: Interval(MaxInterval + 1)}, "100ms to 1h"},
		"long option":       {Command{Verb: VerbDeliver, Audience: everyone, Op: ws.OpText, Conflate: strings.Repeat("k", 257)}, "of 257 bytes"},
		"paced":             {Command{Verb: VerbPaced, Audience: everyone, ID: id, Over: time.Second, Op: ws.OpText}, ""},
		"paced to a user":   {Command{Verb: VerbPaced, Audience: Audience{Users: []string{"a"}}, ID: id, Over: time.Second, Op: ws.OpText}, "everyone or to one topic"},
		"paced and durable": {Command{Verb: VerbPaced, Audience: Audience{Topics: []string{"stored"}}, ID: id, Over: time.Second, Op: ws.OpText}, "durable"},
		"paced too long":    {Command{Verb: VerbPaced, Audience: everyone, ID: id, Over: 2 * time.Hour, Op: ws.OpText}, "over is 2h"},
		"ID":                {Command{Verb: VerbPacedCancel, ID: "x"}, "invalid ID"},
		"presence":          {Command{Verb: VerbPresence, Users: []string{"a"}}, ""},
		"many users":        {Command{Verb: VerbPresence, Users: slices.Repeat([]string{"a"}, MaxPresence+1)}, "10001 users"},
		"page":              {Command{Verb: VerbTopicUsers, Topic: "t", After: "a", Limit: MaxPage + 1}, ""},
		"empty page":        {Command{Verb: VerbTopicUsers, Topic: "t"}, "limit is 0"},
		"malformed cursor":  {Command{Verb: VerbTopicUsers, Topic: "t", After: "a\n", Limit: 1}, "name"},
		"users of no topic": {Command{Verb: VerbTopicUsers, Limit: 1}, "missing"},
		"describe":          {Command{Verb: VerbDescribe}, ""},
		"every ID":          {Command{Verb: VerbPacedList}, ""},
	} {
		err := Check(&test.c, 10, durable)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func TestParseRate(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"2/s": 500 * time.Millisecond, "1/s": time.Second, "10/s": 100 * time.Millisecond, "7/s": 142857142,
		"12/m": 5 * time.Second, "600/m": 100 * time.Millisecond, "1/h": time.Hour, "36000/h": 100 * time.Millisecond,
		"": 0, "0/s": 0, "1000/s": 0, "11/s": 0, "601/m": 0, "36001/h": 0, "2": 0, "2/": 0, "/s": 0, "2/d": 0, "2/S": 0, "-1/s": 0, "+1/s": 0,
		"02/s": 0, "1.5/s": 0, "2 /s": 0, "2/s ": 0, "2/sec": 0, "1e1/s": 0, "4294967296/h": 0, "99999999999999999999/s": 0, "2/s/s": 0, "\xff/s": 0,
	} {
		got, err := ParseRate(text)
		if got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestMergePaced(t *testing.T) {
	at := time.Unix(1000, 0)
	one := PacedBroadcast{State: PacedDone, Receivers: 1, Of: 2, Started: at, Until: at.Add(10), Ended: at.Add(9)}
	for _, test := range []struct{ other, want PacedState }{
		{PacedDone, PacedDone}, {PacedStopped, PacedStopped}, {PacedReplaced, PacedReplaced}, {PacedCanceled, PacedCanceled}, {PacedRunning, PacedRunning},
	} {
		b := one
		MergePaced(&b, PacedBroadcast{State: test.other, Receivers: 10, Of: 20, Started: at.Add(-1), Until: at.Add(12), Ended: at.Add(5)})
		want := PacedBroadcast{State: test.want, Receivers: 11, Of: 22, Started: at.Add(-1), Until: at.Add(12), Ended: at.Add(9)}
		if test.want == PacedRunning {
			want.Ended = time.Time{}
		}
		if b != want {
			t.Errorf("done and %s: %+v, want %+v", test.other, b, want)
		}
	}
}

func TestCoverage(t *testing.T) {
	reason := errors.New("down")
	c := Coverage{Missing: 1, MissingNodes: []string{"b"}}.Merge(Coverage{Missing: 2, MissingNodes: []string{"b", "a"}, Unreachable: reason})
	if c.Missing != 2 || !slices.Equal(c.MissingNodes, []string{"a", "b"}) || c.Unreachable != reason || c.Complete() {
		t.Errorf("%+v", c)
	}
	if !(Coverage{}).Complete() {
		t.Error("nothing is missing, and the coverage is not complete")
	}
	if n := Count(Answer{Replies: []Reply{{Count: 2}, {Count: 3}}}); n != 5 {
		t.Errorf("%d sessions", n)
	}
}

func TestUsers(t *testing.T) {
	counts := map[string]int{"b": 2, "a": 1, "d": 4, "c": 3}
	if page := PageOf(counts, "a", 2); !slices.Equal(page, []UserSessions{{"b", 2}, {"c", 3}}) {
		t.Errorf("%v", page)
	}
	if page := PageOf(counts, "d", 2); page == nil || len(page) > 0 {
		t.Errorf("%v after the last one", page)
	}
	merged := MergeUsers([]UserSessions{{"a", 1}, {"c", 1}}, []UserSessions{{"c", 1}, {"b", 1}}, nil, []UserSessions{{"c", 1}})
	if !slices.Equal(merged, []UserSessions{{"a", 1}, {"b", 1}, {"c", 3}}) {
		t.Errorf("%v", merged)
	}
}
