package inbox

import (
	"errors"
	"sync"
	"testing"
	"time"

	"fanfare/server/inbox/internal/subject"
	"fanfare/server/store"
)

// TestIsolatedLeader: while a leader of replicas that is partitioned answers with an older
// end of the stream, no client gets a gap; when a majority answers again, it
// decides.
func TestIsolatedLeader(t *testing.T) {
	for _, k := range []subject.Kind{subject.Inbox, subject.Topic} {
		box := user("u")
		if k == subject.Topic {
			box = topic("t")
		}
		f := startFakeJetStream(t)
		s := open(t, Config{URL: f.url, Replicas: 3, Timeout: 500 * time.Millisecond})
		epoch := s.Epoch(box)
		f.set(k, 5, 10, true)
		if ok, err := s.Continues(ctx, box, epoch, 8); ok || !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%v: partitioned: continues %v, %v", box, ok, err)
		}
		if !continues(t, s, box, epoch, 5) {
			t.Errorf("%v: a position that the leader knows does not continue", box)
		}
		if continues(t, s, box, "another", 8) {
			t.Errorf("%v: a position of another epoch continues", box)
		}
		f.set(k, 5, 10, false)
		if !continues(t, s, box, epoch, 8) {
			t.Errorf("%v: a position that a majority knows does not continue", box)
		}
		f.set(k, 5, 10, false)
		if continues(t, s, box, epoch, 1000) {
			t.Errorf("%v: a position beyond the stream continues", box)
		}
		if s.Epoch(box) != epoch {
			t.Errorf("%v: a new epoch", box)
		}
	}
}

// TestIsolatedLeaderIsVerified: verification, too, believes a leader whose stream
// ends before what was seen only when a majority agrees.
func TestIsolatedLeaderIsVerified(t *testing.T) {
	f := startFakeJetStream(t)
	var log logged
	s := open(t, Config{URL: f.url, Replicas: 3, Timeout: 300 * time.Millisecond, Logger: log.logger()})
	epoch := s.Epoch(user("u"))
	s.history[subject.Inbox].saw(10)
	f.set(subject.Inbox, 5, 10, true)
	if err := s.verifyStreams(ctx); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("partitioned: %v", err)
	}
	if s.Ready() == nil || s.history[subject.Inbox].epoch() != epoch {
		t.Errorf("ready %v, epoch %q, was %q", s.Ready(), s.history[subject.Inbox].epoch(), epoch)
	}
	f.set(subject.Inbox, 5, 10, false)
	eventually(t, "recovery", func() bool { return s.Ready() == nil })
	if s.Epoch(user("u")) != epoch {
		t.Errorf("a new epoch: %s", log.String())
	}

	// The majority agrees that it ends at 6: it was restored.
	f.set(subject.Inbox, 5, 5, false)
	if err := s.verifyStreams(ctx); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	last := f.streams[subject.Inbox.Stream()].last
	f.mu.Unlock()
	if s.Epoch(user("u")) == epoch || last < 10 {
		t.Errorf("restored: epoch %q, was %q; ends at %d", s.Epoch(user("u")), epoch, last)
	}
}

// TestConfirmationsShareWrites: clients that name offsets beyond the end cost few
// writes.
func TestConfirmationsShareWrites(t *testing.T) {
	f := startFakeJetStream(t)
	s := open(t, Config{URL: f.url, Replicas: 3})
	epoch, before := s.Epoch(user("u")), f.written()
	s.confirms[subject.Inbox].mu.Lock() // so that all have asked before the first goes on
	var asked sync.WaitGroup
	for range 50 {
		asked.Go(func() { continues(t, s, user("u"), epoch, 1000) })
	}
	time.Sleep(10 * time.Millisecond)
	s.confirms[subject.Inbox].mu.Unlock()
	asked.Wait()
	if n := f.written() - before; n < 1 || n > 10 {
		t.Errorf("%d writes for 50 questions", n)
	}
}
