package cluster

import (
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"fanfare/frame"
	"fanfare/server"
	"fanfare/server/node"
	"fanfare/server/where"
)

// examples has a command of each verb.
var examples = []server.Command{
	{Verb: server.VerbPush, User: "älice", Op: server.Text, Payload: []byte("grüße")},
	{Verb: server.VerbPush, User: "a", Op: server.Binary},
	{Verb: server.VerbPublish, Topic: "t", Op: server.Binary, Payload: []byte{0, 0xff}, Except: "n-1"},
	{Verb: server.VerbBroadcast, Op: server.Text, Payload: []byte("x")},
	{Verb: server.VerbPushMany, Users: []string{"a", "b"}, Topics: []string{"t"}, Op: server.Text, Payload: []byte("x")},
	{Verb: server.VerbPushMany, Op: server.Text},
	{Verb: server.VerbStored, User: "a", Epoch: "e", Offset: maxOffset, Prev: maxOffset - 1, Op: server.Text, Payload: []byte("x")},
	{Verb: server.VerbStored, Topic: "t", Epoch: "e", Offset: 1},
	{Verb: server.VerbClose, User: "a", Code: 4999, Reason: strings.Repeat("x", maxReason)},
	{Verb: server.VerbSessions, User: "a"},
	{Verb: server.VerbSessions, Topic: "t"},
	{Verb: server.VerbSubscribers, Topic: "t"},
	{Verb: server.VerbSubscribe, User: "a", Topic: "t"},
	{Verb: server.VerbUnsubscribe, User: "a", Topic: "t"},
	{Verb: server.VerbRevoke, Op: server.Text, Payload: []byte(`{"user":"a"}`)},
	{Verb: server.VerbUnrevoke, Op: server.Text, Payload: []byte("00")},
	{Verb: server.VerbRefresh, User: "a", Op: server.Text, Payload: []byte(`{"expires":0}`)},
	{Verb: server.VerbDeliver, Audience: server.Audience{Users: []string{"a", "b"}, Topics: []string{"t"}, ExcludeUsers: []string{"c"}, ExcludeSessions: []string{"n:1/7", "8"}}, Op: server.Text, Payload: []byte("x")},
	{Verb: server.VerbDeliver, Audience: server.Audience{Everyone: true}, Op: server.Binary},
	{Verb: server.VerbDeliver, Audience: server.Audience{Everyone: true, ExcludeUsers: []string{"c"}, Where: expression("has a")}, Op: server.Binary},
	{Verb: server.VerbDeliver, Audience: server.Audience{Everyone: true, Where: expression("has a")}, Op: server.Text, Payload: []byte("x"), Conflate: "price"},
	{Verb: server.VerbPaced, Audience: server.Audience{Everyone: true}, ID: "0f", Over: time.Hour, Op: server.Text, Conflate: "k"},
	{Verb: server.VerbPaced, Audience: server.Audience{Topics: []string{"t"}}, ID: "0f", Key: "k", Over: time.Hour, Op: server.Text, Payload: []byte("x")},
	{Verb: server.VerbDeliver, Audience: server.Audience{Everyone: true}, Op: server.Text, Payload: []byte("x"), Conflate: "price", Receipt: receiptID},
	{Verb: server.VerbDeliver, Audience: server.Audience{Users: []string{"a"}}, Op: server.Text, Payload: []byte("x"), Conflate: "price", Interval: node.Interval(time.Second / 7)},
	{Verb: server.VerbPaced, Audience: server.Audience{Everyone: true}, ID: "0f", Over: time.Hour, Op: server.Text, Conflate: "k", Interval: node.Interval(time.Hour), Receipt: receiptID},
	{Verb: server.VerbReceipt, ID: receiptID},
	{Verb: server.VerbMembers, Topic: "room", Op: server.Text, Payload: []byte("{}")},
	{Verb: server.VerbPacedList},
	{Verb: server.VerbPacedList, ID: "0f"},
	{Verb: server.VerbPacedCancel, ID: "0f"},
	{Verb: server.VerbPresence, Users: []string{"a", "b"}},
	{Verb: server.VerbTopicUsers, Topic: "t", After: "ä", Limit: 10001},
	{Verb: server.VerbTopicUsers, Topic: "t", Limit: 1},
	{Verb: server.VerbDescribe},
	{Verb: server.VerbInquire, Op: server.Text, Payload: []byte(`{"kind":"closes"}`)},
	{Verb: server.VerbOperate, Op: server.Text, Payload: []byte(`{"kind":"cancel_close"}`)},
}

func expression(text string) *where.Expr {
	e, err := where.Parse(text)
	if err != nil {
		panic(err)
	}
	return e
}

func TestCommandEncoding(t *testing.T) {
	for _, want := range examples {
		if err := checkCommand(&want); err != nil {
			t.Fatalf("%+v: %v", want, err)
		}
		b := appendCommand(nil, &want)
		got, err := decodeCommand(b)
		if err != nil || fmt.Sprint(*got) != fmt.Sprint(want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
		// A shorter one is rejected, or is another message with a shorter payload.
		for n := range len(b) {
			got, err := decodeCommand(b[:n])
			if err == nil && len(got.Payload) >= len(want.Payload) {
				t.Errorf("%+v: the first %d of %d bytes are %+v", want, n, len(b), got)
			}
		}
		if verbs[want.Verb]&hasPayload == 0 {
			if _, err := decodeCommand(append(b, 'x')); err == nil {
				t.Errorf("%+v: a byte too many is accepted", want)
			}
		}
	}
	if b := appendCommand(nil, &examples[1]); hex.EncodeToString(b) != "01"+"0161"+"02" {
		t.Errorf("the encoding of %+v changed to %x: raise version", examples[1], b)
	}
}

// TestInvalidCommands: each is rejected where it is sent and where it arrives.
func TestInvalidCommands(t *testing.T) {
	text := []byte("x")
	for name, cmd := range map[string]server.Command{
		"no verb":                   {},
		"unknown verb":              {Verb: 200},
		"ping to clients":           {Verb: server.VerbPush, User: "a", Op: 9, Payload: make([]byte, 200)},
		"close to clients":          {Verb: server.VerbBroadcast, Op: 8},
		"continuation":              {Verb: server.VerbBroadcast, Op: 0, Payload: text},
		"reserved opcode":           {Verb: server.VerbBroadcast, Op: 0xf, Payload: text},
		"opcode of 8 bits":          {Verb: server.VerbBroadcast, Op: 0x81, Payload: text},
		"text is not UTF-8":         {Verb: server.VerbPush, User: "a", Op: server.Text, Payload: []byte{0xff}},
		"offset of 2^63":            {Verb: server.VerbStored, User: "a", Epoch: "e", Offset: 1 << 63, Op: server.Text, Payload: text},
		"offset of 2^64-1":          {Verb: server.VerbStored, User: "a", Epoch: "e", Offset: 1<<64 - 1, Prev: 1<<64 - 1},
		"prev after offset":         {Verb: server.VerbStored, User: "a", Epoch: "e", Offset: 5, Prev: 6},
		"stored for user and topic": {Verb: server.VerbStored, User: "a", Topic: "t", Epoch: "e", Offset: 1},
		"stored without an epoch":   {Verb: server.VerbStored, User: "a", Offset: 1},
		"epoch of 33 bytes":         {Verb: server.VerbStored, User: "a", Epoch: strings.Repeat("e", 33), Offset: 1},
		"epoch that is not UTF-8":   {Verb: server.VerbStored, User: "a", Epoch: "\xff", Offset: 1},
		"stored for neither":        {Verb: server.VerbStored, Epoch: "e", Offset: 1},
		"sessions of neither":       {Verb: server.VerbSessions},
		"stored payload, no opcode": {Verb: server.VerbStored, User: "a", Epoch: "e", Offset: 1, Payload: text},
		"push to no user":           {Verb: server.VerbPush, Op: server.Text, Payload: text},
		"publish to no topic":       {Verb: server.VerbPublish, Op: server.Text, Payload: text},
		"user is not UTF-8":         {Verb: server.VerbPush, User: "\xff", Op: server.Text, Payload: text},
		"topic is not UTF-8":        {Verb: server.VerbSubscribe, User: "a", Topic: "\xc3"},
		"long user":                 {Verb: server.VerbPush, User: strings.Repeat("x", maxName+1), Op: server.Text},
		"Except is not UTF-8":       {Verb: server.VerbPublish, Topic: "t", Op: server.Text, Except: "\xff"},
		"name in a list is empty":   {Verb: server.VerbPushMany, Users: []string{""}, Op: server.Text},
		"name in a list, not UTF-8": {Verb: server.VerbPushMany, Topics: []string{"a", "\xff"}, Op: server.Text},
		"close code 0":              {Verb: server.VerbClose, User: "a"},
		"close code 1005":           {Verb: server.VerbClose, User: "a", Code: 1005},
		"close code 5000":           {Verb: server.VerbClose, User: "a", Code: 5000},
		"reason is not UTF-8":       {Verb: server.VerbClose, User: "a", Code: 1000, Reason: "\xff"},
		"reason does not fit":       {Verb: server.VerbClose, User: "a", Code: 1000, Reason: strings.Repeat("x", maxReason+1)},
		"unused user":               {Verb: server.VerbBroadcast, User: "a", Op: server.Text},
		"unused topic":              {Verb: server.VerbPush, User: "a", Topic: "t", Op: server.Text},
		"unused list":               {Verb: server.VerbPush, User: "a", Users: []string{"b"}, Op: server.Text},
		"unused epoch":              {Verb: server.VerbPush, User: "a", Epoch: "e", Op: server.Text},
		"unused offset":             {Verb: server.VerbPush, User: "a", Offset: 1, Op: server.Text},
		"unused code":               {Verb: server.VerbPush, User: "a", Code: 1000, Op: server.Text},
		"unused reason":             {Verb: server.VerbPush, User: "a", Reason: "x", Op: server.Text},
		"unused Except":             {Verb: server.VerbPush, User: "a", Except: "x", Op: server.Text},
		"unused payload":            {Verb: server.VerbSubscribers, Topic: "t", Payload: text},
		"unused audience":           {Verb: server.VerbBroadcast, Audience: server.Audience{Everyone: true}, Op: server.Text},
		"unused exclusion":          {Verb: server.VerbPush, User: "a", Audience: server.Audience{ExcludeUsers: []string{"b"}}, Op: server.Text},
		"unused ID":                 {Verb: server.VerbBroadcast, ID: "0f", Op: server.Text},
		"unused option":             {Verb: server.VerbPush, User: "u", Op: server.Text, Conflate: "k"},
		"unused interval":           {Verb: server.VerbPush, User: "u", Op: server.Text, Interval: node.Interval(time.Second)},
		"interval without a name":   {Verb: server.VerbDeliver, Audience: server.Audience{Everyone: true}, Op: server.Text, Interval: node.Interval(time.Second)},
		"short interval":            {Verb: server.VerbDeliver, Audience: server.Audience{Everyone: true}, Op: server.Text, Conflate: "k", Interval: 1},
		"unused receipt":            {Verb: server.VerbPublish, Topic: "t", Op: server.Text, Receipt: receiptID},
		"receipt":                   {Verb: server.VerbDeliver, Audience: server.Audience{Everyone: true}, Op: server.Text, Receipt: "x"},
		"long option":               {Verb: server.VerbDeliver, Audience: server.Audience{Everyone: true}, Op: server.Text, Conflate: strings.Repeat("k", 257)},
		"unused key":                {Verb: server.VerbPacedList, Key: "k"},
		"unused time":               {Verb: server.VerbDeliver, Over: time.Second, Op: server.Text},
		"everyone and a user":       {Verb: server.VerbDeliver, Audience: server.Audience{Everyone: true, Users: []string{"a"}}, Op: server.Text},
		"excluded session":          {Verb: server.VerbDeliver, Audience: server.Audience{Everyone: true, ExcludeSessions: []string{"n/"}}, Op: server.Text},
		"too many excluded":         {Verb: server.VerbDeliver, Audience: server.Audience{Everyone: true, ExcludeUsers: slices.Repeat([]string{"u"}, server.MaxExcluded+1)}, Op: server.Text},
		"paced without an ID":       {Verb: server.VerbPaced, Audience: server.Audience{Everyone: true}, Over: time.Second, Op: server.Text},
		"paced without a time":      {Verb: server.VerbPaced, Audience: server.Audience{Everyone: true}, ID: "0f", Op: server.Text},
		"negative time":             {Verb: server.VerbPaced, Audience: server.Audience{Everyone: true}, ID: "0f", Over: -1, Op: server.Text},
		"long key":                  {Verb: server.VerbPaced, Audience: server.Audience{Everyone: true}, ID: "0f", Key: strings.Repeat("k", 257), Over: time.Second, Op: server.Text},
		"key is not UTF-8":          {Verb: server.VerbPaced, Audience: server.Audience{Everyone: true}, ID: "0f", Key: "\xff", Over: time.Second, Op: server.Text},
		"unused cursor":             {Verb: server.VerbSubscribers, Topic: "t", After: "a"},
		"unused limit":              {Verb: server.VerbPresence, Limit: 1},
		"page of no users":          {Verb: server.VerbTopicUsers, Topic: "t"},
		"cursor is not UTF-8":       {Verb: server.VerbTopicUsers, Topic: "t", After: "\xff", Limit: 1},
		"unused opcode":             {Verb: server.VerbSubscribers, Topic: "t", Op: server.Text},
	} {
		if err := checkCommand(&cmd); !errors.Is(err, server.ErrInvalidCommand) {
			t.Errorf("%s: checkCommand returns %v", name, err)
		}
		if int(cmd.Verb) >= len(verbs) || strings.HasPrefix(name, "unused") {
			continue // the encoding has no place for it
		}
		if got, err := decodeCommand(appendCommand(nil, &cmd)); err == nil {
			t.Errorf("%s: decoded as %+v", name, got)
		}
	}
}

// TestDeclaredLengths: what a sender declares costs no memory.
func TestDeclaredLengths(t *testing.T) {
	huge := appendNumbers(nil, 1<<62)
	for name, b := range map[string][]byte{
		"user":          append([]byte{byte(server.VerbPush)}, huge...),
		"user, 2^64-1":  append([]byte{byte(server.VerbPush)}, appendNumbers(nil, 1<<64-1)...),
		"list":          append([]byte{byte(server.VerbPushMany)}, huge...),
		"long uvarint":  append([]byte{byte(server.VerbPush)}, strings.Repeat("\x80", 20)...),
		"empty strings": append(append([]byte{byte(server.VerbPushMany)}, huge...), make([]byte, 1<<20)...),
	} {
		allocated := testing.AllocsPerRun(10, func() {
			if _, err := decodeCommand(b); err == nil {
				t.Errorf("%s: accepted", name)
			}
		})
		if allocated > 20 {
			t.Errorf("%s: %v allocations", name, allocated)
		}
	}
	for name, b := range map[string][]byte{
		"sessions": append([]byte{1, 0}, huge...),
		"users":    append([]byte{0, 0, 0, 0}, huge...),
		"no name":  append(append([]byte{0, 0, 0, 0}, huge...), make([]byte, 1<<20)...),
		"count":    append(appendNumbers(nil, 1<<40), 0, 0),
		"error":    append(appendNumbers(nil, 1, 1, 0xff), 0),
	} {
		if r, err := decodeReply(b); err == nil {
			t.Errorf("%s: accepted as %+v", name, r)
		}
	}
}

// receiptID is an ID of a receipt.
var receiptID = strings.Repeat("A", 26)

func TestReceiptEncoding(t *testing.T) {
	for _, want := range []node.Receipt{{}, {Written: 9, Confirmed: 8, Silent: 1, Final: true, RoundTrips: []uint32{0, 1<<32 - 1, 7}}} {
		b := appendReply(nil, &server.Reply{Count: 3, Receipt: &want})
		got, err := decodeReply(b)
		if err != nil || got.Count != 3 || got.Receipt == nil || fmt.Sprint(*got.Receipt) != fmt.Sprint(want) {
			t.Errorf("got %+v, %v, want %+v", got.Receipt, err, want)
		}
		for n := range b {
			if got, err := decodeReply(b[:n]); err == nil && got.Receipt != nil {
				t.Errorf("the first %d bytes are %+v", n, got.Receipt)
			}
		}
		if got, err := decodeReply(append(b, 0)); err == nil {
			t.Errorf("with a byte more: %+v", got.Receipt)
		}
	}
	long := &server.Reply{Receipt: &node.Receipt{Written: -1, RoundTrips: make([]uint32, maxTrips+1)}}
	if got, err := decodeReply(appendReply(nil, long)); err != nil || got.Receipt.Written != 0 || len(got.Receipt.RoundTrips) != maxTrips {
		t.Errorf("a receipt that does not fit: %v", err)
	}
}

func TestReplyEncoding(t *testing.T) {
	for _, want := range []server.Reply{
		{},
		{Count: 1 << 30, Error: "x"},
		{Paced: []server.PacedBroadcast{{ID: "0f", Key: "k", Topic: "t", State: server.PacedDone, Receivers: 5, Of: 6, Started: time.Unix(1, 0).UTC(), Until: time.Unix(2, 1).UTC(), Ended: time.Unix(2, 0).UTC()}, {ID: "1"}}},
		{Users: []server.UserSessions{{User: "ä", Sessions: 2}, {User: "b", Sessions: 1}}},
		{Count: 3, About: node.Description{State: "serving", Version: "1", Since: time.Unix(5, 6).UTC()}},
		{Sessions: []server.SessionInfo{{ID: "1", Opened: time.Unix(0, 1), Topics: []string{"a"}}, {}}},
	} {
		b := appendReply(nil, &want)
		got, err := decodeReply(b)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
		for n := range b {
			if got, err := decodeReply(b[:n]); err == nil && len(got.Paced) == len(want.Paced) && len(got.Users) == len(want.Users) && got.About == want.About {
				t.Errorf("%+v: the first %d bytes are %+v", want, n, got)
			}
		}
	}
	// Values that cannot be encoded are changed to fit, so that the reply is not lost.
	odd := server.Reply{Count: -1, Error: strings.Repeat("ä", maxError), Sessions: []server.SessionInfo{{User: "\xff", QueuedBytes: -5, Topics: []string{"\xff"}}}}
	got, err := decodeReply(appendReply(nil, &odd))
	if err != nil || got.Count != 0 || len(got.Error) != maxError || got.Sessions[0].User != "\ufffd" || got.Sessions[0].Topics[0] != "\ufffd" {
		t.Errorf("got %+v, %v", got, err)
	}
}

// offline is a Cluster without a connection, for what needs none.
func offline(n server.Node) *Cluster {
	c := &Cluster{now: time.Now, node: n, log: slog.New(slog.DiscardHandler), missing: make(chan struct{}, 1),
		out: newQueue[outgoing](maxQueued, maxQueuedBytes), linked: make(chan nodeID, 1)}
	c.peers.init(c.id, "test")
	c.asks.init()
	c.links.init()
	return c
}

// TestPanic: a command that makes the node panic is answered with an error, and
// the next one is served.
func TestPanic(t *testing.T) {
	c := offline(&fakeNode{serve: func(cmd *server.Command) server.Reply {
		if cmd.User == "bad" {
			panic("x")
		}
		return server.Reply{Count: 1}
	}})
	for _, test := range []struct {
		user string
		want server.Reply
	}{{"bad", server.Reply{Error: "internal error: a panic"}}, {"good", server.Reply{Count: 1}}} {
		if got := c.execute(nodeID{1}, appendCommand(nil, push(test.user, "x"))); fmt.Sprint(got) != fmt.Sprint(test.want) {
			t.Errorf("%s: got %+v", test.user, got)
		}
	}
	if got := c.Stats().Panics; got != 1 {
		t.Errorf("%d panics are counted", got)
	}
}

// strictNode does with a command what a server does, and panics if a field has a
// value that a server must not be given.
type strictNode struct{}

func (strictNode) Missed() {}

func (strictNode) Serve(c *server.Command) (r server.Reply) {
	must := func(ok bool, what string) {
		if !ok {
			panic(fmt.Sprintf("BUG: %s: %+v", what, c))
		}
	}
	for _, name := range append(append([]string{c.User, c.Topic, c.Except, c.Reason}, c.Users...), c.Topics...) {
		must(utf8.ValidString(name), "name")
	}
	// As slice bounds, on any machine.
	must(int64(c.Offset) >= 0 && int64(c.Prev) >= 0 && c.Prev <= c.Offset, "offset")
	switch c.Op {
	case server.Text:
		must(utf8.Valid(c.Payload), "text")
		frame.Prepare(c.Op, c.Payload)
	case server.Binary:
		frame.Prepare(c.Op, c.Payload)
	default:
		must(c.Op == 0 && len(c.Payload) == 0, "opcode")
	}
	if c.Verb == server.VerbClose {
		b := frame.AppendClose(nil, c.Code, c.Reason)
		must(len(b) == 4+len(c.Reason), "close frame")
	}
	return server.Reply{Count: len(c.Payload)}
}

// FuzzCommand executes what comes from NATS, as the lanes and the receiver of
// replies do.
func FuzzCommand(f *testing.F) {
	from := nodeID{1}
	for i := range examples {
		m := appendCommand(appendNumbers(appendHeader(nil, kindCommand, from), 1), &examples[i])
		f.Add(m)
		for _, part := range split(m, headerSize+22+8, from, 1)[:1] {
			f.Add(part)
		}
	}
	f.Add(appendReply(appendNumbers(appendHeader(nil, kindReply, from), 1), &server.Reply{Count: 1, Sessions: []server.SessionInfo{{ID: "x", Topics: []string{"t"}}}}))
	f.Add(appendProbe(from, kindProbe, 7))
	f.Add((&beat{sequence: 1, name: "x"}).append(appendHeader(nil, kindBeat, from)))
	f.Add(appendCommand(appendNumbers(appendHeader(nil, kindCommand, from), 0), &server.Command{Verb: server.VerbStored, User: "a", Epoch: "e", Offset: 1 << 63}))
	f.Add(appendCommand(appendNumbers(appendHeader(nil, kindCommand, from), 0), &server.Command{Verb: server.VerbPush, User: "a", Op: 9, Payload: make([]byte, 126)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := offline(strictNode{})
		c.id = nodeID{9}
		var partial reassembler
		e, ok := c.whole(&partial, b)
		if !ok {
			return
		}
		r := reader{b: e.body}
		r.uvarint()
		body := r.rest()
		reply := c.execute(e.from, body)
		if n := c.Stats().Panics; n != 0 {
			t.Errorf("%d panics", n)
		}
		if cmd, err := decodeCommand(body); err == nil {
			again, err := decodeCommand(appendCommand(nil, cmd))
			if err != nil || fmt.Sprint(again) != fmt.Sprint(cmd) {
				t.Errorf("%+v becomes %+v, %v", cmd, again, err)
			}
		} else if reply.Error == "" {
			t.Errorf("invalid command is served: %v", err)
		}
		c.receiveReply(e)
		if beat, err := decodeBeat(e.body); err == nil {
			c.peers.hear(e.from, beat, time.Unix(0, 0))
		}
	})
}
