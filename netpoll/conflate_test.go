package netpoll

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"unique"
)

// The table writes messages of the form KEY=VALUE, KEY empty for a message without a key,
// into a queue that may cost limit.
func TestConflate(t *testing.T) {
	const limit = 1000
	long := strings.Repeat("x", 600)
	for name, tt := range map[string]struct {
		sent    int  // bytes of the first message, before the others
		busy    bool // the first message is being written
		policy  Policy
		writes  []string
		want    string // what is unsent
		refused int
		dropped int
		keys    int
	}{
		"without a key":            {writes: []string{"=1", "=2"}, want: "=1 =2"},
		"replaced in its place":    {writes: []string{"a=1", "b=1", "a=2"}, want: "a=2 b=1", keys: 2},
		"among others":             {writes: []string{"=1", "a=1", "=2", "a=2", "=3", "a=3"}, want: "=1 a=3 =2 =3", keys: 1},
		"partly written":           {sent: 1, writes: []string{"a=1", "a=2", "a=3"}, want: "=1 a=3", keys: 1},
		"being written":            {busy: true, writes: []string{"a=1", "a=2", "a=3"}, want: "a=1 a=3", keys: 1},
		"wholly written":           {sent: 3, writes: []string{"a=1", "a=2"}, want: "a=2", keys: 1},
		"longer":                   {policy: CloseOnFull, writes: []string{"a=1", "b=1", "a=" + long}, want: "a=" + long + " b=1", keys: 2},
		"shorter in a full queue":  {policy: CloseOnFull, writes: []string{"a=" + long, "b=" + long[:200], "a=2"}, want: "a=2 b=" + long[:200], keys: 2},
		"too long, must not drop":  {policy: CloseOnFull, writes: []string{"a=1", "b=" + long, "a=" + long}, want: "a=1 b=" + long, refused: 1, keys: 2},
		"too long, others go":      {policy: DropOldest, writes: []string{"a=1", "b=" + long, "a=" + long}, want: "a=" + long, dropped: 1, keys: 1},
		"alone, longer than limit": {policy: CloseOnFull, writes: []string{"a=1", "a=" + long + long}, want: "a=" + long + long, keys: 1},
		"dropped, then again":      {policy: DropOldest, writes: []string{"a=1", "b=" + long, "c=" + long, "a=2"}, want: "c=" + long + " a=2", dropped: 2, keys: 2},
	} {
		t.Run(name, func(t *testing.T) {
			policy := max(tt.policy, CloseOnFull)
			c := &Conn{engine: &Engine{queueBytes: limit}, out: new(queue)}
			for i, w := range tt.writes {
				key, _, _ := strings.Cut(w, "=")
				var k Key
				if key != "" {
					k = unique.Make(key)
				}
				o := c.enqueueLocked([]byte(w), policy, false, k)
				if !o.Delivered() {
					tt.refused--
				}
				if i == 0 {
					c.out.busy = tt.busy
					c.out.sent(tt.sent)
				}
			}
			got := string(bytes.Join(c.out.front(nil, 99), []byte(" ")))
			if got != tt.want || tt.refused != 0 || c.out.keys() != tt.keys || c.engine.stats.dropped.Load() != int64(tt.dropped) {
				t.Errorf("%.60q is unsent, want %.60q; %d keys, want %d; %d dropped; %d more refusals expected",
					got, tt.want, c.out.keys(), tt.keys, c.engine.stats.dropped.Load(), tt.refused)
			}
			if c.out.size != len(strings.ReplaceAll(got, " ", "")) {
				t.Errorf("size %d for %q", c.out.size, got)
			}
		})
	}
}

// A peer that reads nothing gets, when it reads again, what was on its way and the newest
// message of each key, over every transport.
func TestConflateForSlowPeer(t *testing.T) {
	everywhere(t, func(t *testing.T, transport Transport, network string) {
		r := newRig(t, Config{Transport: transport, QueueBytes: 4 << 20}, network, ignore)
		nc, s := r.connect()
		fill := func(b byte) []byte { return bytes.Repeat([]byte{b}, 1<<10) }
		queued := 0
		for queued < 1<<10 { // the kernel accepts some of them later
			if s.WriteKeyed(fill('.'), DropOldest, unique.Make("filler"+string(rune(queued)))) == Queued {
				queued++
			}
		}
		before, fillers := r.e.Stats().Conflated, s.Queued()
		sent := r.e.Stats().Sent
		const rounds = 1000
		for range rounds - 1 {
			for _, key := range []string{"a", "b", "c"} {
				s.WriteKeyed(fill('-'), DropOldest, unique.Make(key))
			}
		}
		for _, key := range []string{"c", "b", "a"} {
			s.WriteKeyed(fill(key[0]), DropOldest, unique.Make(key))
		}
		if n := r.e.Stats().Conflated - before; n != 3*(rounds-1) {
			t.Errorf("%d messages replaced, want %d", n, 3*(rounds-1))
		}
		sent = r.e.Stats().Sent - sent // of the fillers, which are first
		if n := s.Queued() - fillers + int(sent); n > 16<<10 {
			t.Errorf("%d bytes are queued for three keys", n)
		}
		s.Seal([]byte("."), false, CloseFlushed)
		all, err := io.ReadAll(nc)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Trim(string(all), ".")
		if want := string(fill('a')) + string(fill('b')) + string(fill('c')); got != want {
			t.Errorf("%d bytes that differ from the %d of the newest messages", len(got), len(want))
		}
	})
}

// Queues without keys have no index, and a replaced message costs no allocation.
func TestConflateAllocations(t *testing.T) {
	q := new(queue)
	q.push([]byte("x"), DropOldest, false)
	if q.keyed != nil {
		t.Error("an index without a key")
	}
	b, key := make([]byte, 100), unique.Make("a")
	q.push(b, DropOldest, false)
	q.note(key)
	if n := testing.AllocsPerRun(100, func() {
		i, _ := q.find(key)
		q.replace(key, i, b, 1000, DropOldest)
	}); n != 0 {
		t.Errorf("%v allocations for a replaced message", n)
	}
}

// A connection that moves to another process keeps the keys of its queue.
func TestConflateExport(t *testing.T) {
	q, key := new(queue), unique.Make("a")
	for _, b := range []string{"old", "a=1", "b"} {
		if q.push([]byte(b), DropOldest, false); b == "a=1" {
			q.note(key)
		}
	}
	q.sent(1)
	var st State
	q.export(&st)
	moved := new(queue)
	moved.restore(&st)
	i, ok := moved.find(key)
	if !ok {
		t.Fatal("the key is not known")
	}
	moved.replace(key, i, []byte("a=2"), 1000, DropOldest)
	if got := string(bytes.Join(moved.front(nil, 9), nil)); got != "lda=2b" {
		t.Errorf("%q is unsent", got)
	}
}

// An empty message with a key has no place in the queue, and names no other message.
func TestConflateEmptyMessage(t *testing.T) {
	c, key := &Conn{engine: &Engine{queueBytes: 1000}, out: new(queue)}, unique.Make("a")
	c.Write([]byte("1"), DropOldest)
	for _, b := range []string{"", "a=1", "", "a=2"} {
		if o := c.WriteKeyed([]byte(b), DropOldest, key); o != Queued {
			t.Errorf("%q: %v", b, o)
		}
	}
	if got := string(bytes.Join(c.out.front(nil, 9), []byte(" "))); got != "1 a=2" || c.out.keys() != 1 {
		t.Errorf("%q is unsent, with %d keys", got, c.out.keys())
	}
}
