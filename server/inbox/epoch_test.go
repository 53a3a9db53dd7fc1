package inbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"fanfare/server/inbox/internal/account"
	"fanfare/server/inbox/internal/subject"
	"fanfare/server/internal/natstest"
	"fanfare/server/store"
)

// continues reports whether a position continues.
func continues(t *testing.T, s store.Store, b store.Box, epoch string, offset uint64) bool {
	t.Helper()
	ok, err := s.Continues(ctx, b, epoch, offset)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// TestRestoredBackup: a client that is ahead of a restored copy gets a gap, although
// the offset that it names is assigned again.
func TestRestoredBackup(t *testing.T) {
	for _, box := range []store.Box{user("u"), topic("t")} {
		dir := t.TempDir()
		s := open(t, Config{Dir: dir})
		put(t, s, box, "a1", "a2", "a3")
		first := s.Epoch(box)
		s.close()
		backup := files(t, dir)

		s = open(t, Config{Dir: dir})
		at := put(t, s, box, "a4", "a5", "a6")
		second := s.Epoch(box)
		for _, test := range []struct {
			epoch  string
			offset uint64
			want   bool
		}{
			{first, 3, true}, {first, 0, true}, {first, 4, false}, {second, 3, true}, {second, 6, true},
			{second, 7, false}, {"", 3, false}, {"0123456789abcdef", 3, false},
		} {
			if got := continues(t, s, box, test.epoch, test.offset); got != test.want {
				t.Errorf("%v: %q %d continues: %v", box, test.epoch, test.offset, got)
			}
		}
		s.close()

		// The client is at 6.
		s = open(t, Config{Dir: lay(t, backup)})
		if epoch := s.Epoch(box); epoch == first || epoch == second || len(epoch) > 32 {
			t.Errorf("the copy has the epoch %q", epoch)
		}
		if again := put(t, s, box, "new4", "new5", "new6", "new7"); again[0] != at[0] {
			t.Fatalf("offset %d: this tests nothing", again[0])
		}
		if continues(t, s, box, second, at[2]) {
			t.Errorf("%v: a position of the original continues in the copy", box)
		}
		if !continues(t, s, box, first, 3) {
			t.Errorf("%v: a position of before the copy does not continue", box)
		}
		if continues(t, s, box, first, 4) {
			t.Errorf("%v: a position after the copy continues", box)
		}
	}
}

// TestCopyWhileRunning: the copy and the original have an epoch in common, and differ
// in what it assigned later.
func TestCopyWhileRunning(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	put(t, s, user("u"), "a1", "a2", "a3")
	backup := files(t, dir)
	put(t, s, user("u"), "a4", "a5", "a6")
	epoch := s.Epoch(user("u"))
	s.close()

	s = open(t, Config{Dir: lay(t, backup)})
	put(t, s, user("u"), "new4", "new5", "new6", "new7")
	for offset, want := range []bool{true, true, true, true, false, false, false} {
		if got := continues(t, s, user("u"), epoch, uint64(offset)); got != want {
			t.Errorf("%d continues: %v", offset, got)
		}
	}
	if got, gap := read(t, s, user("u"), 0); strings.Join(got, " ") != "a1 a2 a3 new4 new5 new6 new7" || gap {
		t.Errorf("got %q, gap %v", got, gap)
	}
}

// TestPositionsOfLaterHistory: an acknowledgement that is further than the messages
// does not hide later ones: no offset is assigned that was acknowledged.
func TestPositionsOfLaterHistory(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	put(t, s, user("u"), "a1", "a2", "a3")
	before := files(t, dir)
	at := put(t, s, user("u"), "a4", "a5", "a6")
	if err := s.AckSync(ctx, user("u"), "u", at[2]); err != nil {
		t.Fatal(err)
	}
	after := files(t, dir)
	s.close()
	// Positions of later, messages of earlier.
	mixed := make(map[string][]byte)
	for name, b := range before {
		if strings.Contains(name, subject.Ack.Stream()) {
			b = after[name]
		}
		mixed[name] = b
	}
	for name, b := range after {
		if strings.Contains(name, subject.Ack.Stream()) {
			mixed[name] = b
		}
	}
	s = open(t, Config{Dir: lay(t, mixed)})
	acked, _, err := s.Acked(ctx, user("u"), "u")
	if err != nil {
		t.Fatal(err)
	}
	if got := put(t, s, user("u"), "new"); got[0] <= acked {
		t.Errorf("offset %d was acknowledged, up to %d", got[0], acked)
	}
}

// TestAccountIsCompacted: an account that grows is compacted, also while it is
// written, and knows what is alive.
func TestAccountIsCompacted(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir, Messages: 3})
	a := s.local.account
	for i := range 500 {
		put(t, s, user("u"), fmt.Sprint(i))
	}
	put(t, s, user("v"), "only")
	if _, err := s.Purge(ctx, user("w")); err != nil {
		t.Fatal(err)
	}
	s.markForTest(t)
	was, _ := a.Sizes()
	written := make(chan struct{})
	go func() {
		defer close(written)
		for i := range 200 {
			if _, err := add(s, user("x"), store.Entry{Payload: []byte(fmt.Sprint(i))}); err != nil {
				t.Error(err)
			}
		}
	}()
	if err := a.Compact(dir, s.limits(), s.history[subject.Inbox].list(), time.Now()); err != nil {
		t.Fatal(err)
	}
	<-written
	size, _ := a.Sizes()
	if size > was {
		t.Errorf("%d bytes, were %d", size, was)
	}
	all := files(t, dir)
	s.close()
	for name, all := range map[string]map[string][]byte{"killed": all, "closed": files(t, dir)} {
		s = open(t, Config{Dir: lay(t, all), Messages: 3})
		if got, _ := read(t, s, user("u"), 0); strings.Join(got, " ") != "497 498 499" {
			t.Errorf("%s: got %q", name, got)
		}
		if got, _ := read(t, s, user("x"), 0); strings.Join(got, " ") != "197 198 199" {
			t.Errorf("%s: got %q", name, got)
		}
		// A lost message is still noticed.
		block := filepath.Join("jetstream", "$G", "streams", subject.Inbox.Stream(), "msgs", "1.blk")
		dir := lay(t, with(all, block, change{"", func(b []byte) []byte { return nil }}))
		_, err := Open(ctx, Config{Dir: dir, Messages: 3, Logger: quiet})
		if err == nil || !strings.Contains(err.Error(), "7 messages of 3 users are missing") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestOtherLimitsOfDirectory: what stricter limits remove is not taken for lost, in
// whatever order, and also when the process is killed in between.
func TestOtherLimitsOfDirectory(t *testing.T) {
	dir := t.TempDir()
	for i, cfg := range []Config{{Messages: 10}, {Messages: 3}, {Messages: 10}, {Messages: 1}, {Messages: 10, Disk: 8 << 20, DiskFull: FullDropOldest},
		{Messages: 500, Disk: 1 << 20, DiskFull: FullDropOldest}, {}} {
		cfg.Dir = dir
		s := open(t, cfg)
		for n := range 12 {
			put(t, s, user("u"), fmt.Sprint(i, n)+strings.Repeat("x", 10_000))
			put(t, s, user(fmt.Sprint(n)), strings.Repeat("x", 20_000))
		}
		all := files(t, dir)
		s.close()
		dir = lay(t, all) // killed
		if i%2 == 1 {
			dir = s.cfg.Dir
		}
	}
}

// TestDropOldestOnDisk: what was removed at the limit of the disk is not taken for
// lost, also when the process is killed at any time.
func TestDropOldestOnDisk(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), Disk: 1 << 20, DiskFull: FullDropOldest}
	s := open(t, cfg)
	payload := strings.Repeat("x", 30_000)
	for i := range 120 {
		put(t, s, user(fmt.Sprint(i%50)), payload)
		if i%10 == 9 {
			open(t, Config{Dir: lay(t, files(t, cfg.Dir)), Disk: cfg.Disk, DiskFull: cfg.DiskFull}).close()
		}
	}
}

// TestExpiredIsNotLost: what has expired, also while the store was closed.
func TestExpiredIsNotLost(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), Age: time.Second}
	s := open(t, cfg)
	put(t, s, user("u"), "1", "2")
	all := files(t, cfg.Dir)
	awaitExpiry(t, s, user("u"))
	s.close()
	s = open(t, cfg)
	if next := put(t, s, user("u"), "3"); next[0] != 3 {
		t.Errorf("offset %d", next[0])
	}
	s.close()
	open(t, Config{Dir: lay(t, all), Age: cfg.Age})
}

// TestAppendWithoutAnswer: a message that was stored although its append failed is in
// the account with the next append.
func TestAppendWithoutAnswer(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), Messages: 2}
	s := open(t, cfg)
	put(t, s, user("u"), "1")
	// As if the answer had not arrived.
	b := subject.Of(user("u"))
	p := s.tails.enter(b)
	tail := p.tail
	var m message
	m.Prev, m.sum = tail.prev, tail.sum+1
	if _, _, err := s.put(ctx, b, &m, []byte("2"), tail.last, "id.fanfare.inbox.u"); err != nil {
		t.Fatal(err)
	}
	tail.known, tail.unsure = false, true
	p.leave()
	if r, err := add(s, user("u"), store.Entry{ID: "id", Payload: []byte("2")}); err != nil || !r.Duplicate {
		t.Errorf("%+v, %v", r, err)
	}
	put(t, s, user("u"), "3")
	tally, err := account.ReadTally(s.local.account.File, -1)
	if err != nil || tally.Messages != 3 {
		t.Errorf("%d messages are in the account, %v", tally.Messages, err)
	}
	all := files(t, cfg.Dir)
	s = open(t, Config{Dir: lay(t, all), Messages: 2})
	if got, _ := read(t, s, user("u"), 0); strings.Join(got, " ") != "2 3" {
		t.Errorf("got %q", got)
	}
}

// TestOldDirectory: a directory of a version without an account is adopted, once.
func TestOldDirectory(t *testing.T) {
	all, a := closed(t)
	delete(all, "account.log")
	all["witness.json"] = []byte("{}")
	dir := lay(t, all)
	s := open(t, Config{Dir: dir})
	a.check(t, s, false)
	s.close()
	if err := os.Remove(account.File(dir)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, Config{Dir: dir, Logger: quiet}); err == nil {
		t.Error("a missing account is not noticed")
	}
}

// TestEmptiedNATS: an outside NATS that comes back without its streams gets them
// again, with a new epoch, by itself.
func TestEmptiedNATS(t *testing.T) {
	for _, wiped := range [][]subject.Kind{{subject.Inbox, subject.Topic, subject.Ack}, {subject.Inbox, subject.Topic}, {subject.Inbox}} {
		dir := t.TempDir()
		ns := natstest.Start(t, natsserver.Options{JetStream: true, StoreDir: dir})
		url := ns.ClientURL()
		a := open(t, Config{URL: url, Timeout: 2 * time.Second})
		b := open(t, Config{URL: url, Timeout: 2 * time.Second})
		recovered := make(chan struct{}, 100)
		a.OnRecover(func() { recovered <- struct{}{} })
		at := put(t, a, user("u"), "1", "2", "3")
		if err := a.AckSync(ctx, user("u"), "u", at[2]); err != nil {
			t.Fatal(err)
		}
		epoch := a.Epoch(user("u"))
		if epoch == "" || epoch != b.Epoch(user("u")) || !continues(t, b, user("u"), epoch, 3) {
			t.Errorf("epoch %q here and %q there", epoch, b.Epoch(user("u")))
		}
		ns.Stop()
		for _, k := range wiped {
			if err := os.RemoveAll(account.StreamDir(dir, k)); err != nil {
				t.Fatal(err)
			}
		}
		ns.Start()
		for _, s := range []*testStore{a, b} {
			eventually(t, "a new epoch", func() bool {
				now := s.Epoch(user("u"))
				return s.Ready() == nil && now != epoch && now != ""
			})
			if continues(t, s, user("u"), epoch, 3) {
				t.Errorf("wiped %v: a position of before continues", wiped)
			}
		}
		<-recovered
		next := put(t, a, user("u"), "new")
		acked, _, err := b.Acked(ctx, user("u"), "u")
		if err != nil || acked >= next[0] {
			t.Errorf("wiped %v: %d is acknowledged already, up to %d, %v", wiped, next[0], acked, err)
		}
		if got, gap := read(t, b, user("u"), acked); strings.Join(got, " ") != "new" || gap != (acked > 0) {
			t.Errorf("wiped %v: got %q, gap %v", wiped, got, gap)
		}
	}
}

// TestDeletedStream: a stream that is deleted while NATS runs is created again.
func TestDeletedStream(t *testing.T) {
	url := outside(t, natsserver.Options{})
	a, b := open(t, Config{URL: url}), open(t, Config{URL: url})
	put(t, a, user("u"), "1", "2")
	epoch := a.Epoch(user("u"))
	if err := a.link.Load().js.DeleteStream(ctx, subject.Inbox.Stream()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a new epoch", func() bool {
		if _, err := a.Last(ctx, user("u")); err != nil && !errors.Is(err, store.ErrUnavailable) {
			t.Fatal(err)
		}
		return a.Ready() == nil && a.Epoch(user("u")) != epoch
	})
	put(t, a, user("u"), "new")
	// b may or may not have noticed the new stream.
	put(t, b, user("u"), "newer")
	for _, s := range []*testStore{a, b} {
		eventually(t, "new epoch", func() bool { return s.Epoch(user("u")) != epoch && s.Epoch(user("u")) != "" })
		if got, gap := read(t, s, user("u"), 0); strings.Join(got, " ") != "new newer" || gap {
			t.Errorf("got %q, gap %v", got, gap)
		}
	}
	// Either may still look at the stream because of what the other has told it, and has no epoch meanwhile.
	eventually(t, "the same epoch", func() bool { return a.Epoch(user("u")) != "" && a.Epoch(user("u")) == b.Epoch(user("u")) })
}

// TestStaleLink: a node that has not noticed yet that a stream was created again
// stores no link into the former one, and links into it hide no message.
func TestStaleLink(t *testing.T) {
	url := outside(t, natsserver.Options{})
	a, b := open(t, Config{URL: url}), open(t, Config{URL: url})
	put(t, a, user("u"), "1", "2", "3")
	// A store would notify the others, so the test recreates the stream itself.
	resume := b.pause(t)
	replace(t, a, subject.Inbox, func(sc *jetstream.StreamConfig) { sc.Metadata = map[string]string{epochKey: newEpochID()} })
	resume()
	put(t, b, user("v"), "x")
	put(t, a, user("u"), "new")
	at := put(t, b, user("u"), "newer")
	if got, gap := read(t, b, user("u"), 0); strings.Join(got, " ") != "new newer" || gap {
		t.Errorf("got %q, gap %v", got, gap)
	}
	// A link that is wrong all the same, to a message of another box.
	m := message{Message: store.Message{Prev: 1}}
	if _, _, err := b.put(ctx, subject.Of(user("u")), &m, []byte("stale"), at[0], ""); err != nil {
		t.Fatal(err)
	}
	if got, gap := read(t, b, user("u"), 0); strings.Join(got, " ") != "new newer stale" || !gap {
		t.Errorf("got %q, gap %v", got, gap)
	}
}
