package inbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"fanfare/server/store"
)

// TestHungServer: an embedded server that does not stop is reported, and not replaced
// while it may write to its files. If it stops after all, the store continues.
func TestHungServer(t *testing.T) {
	dir := t.TempDir()
	var log logged
	s := open(t, Config{Dir: dir, Logger: log.logger()})
	put(t, s, user("u"), "1")
	release, stop := make(chan struct{}), s.local.shutdown
	s.local.patience = 10 * time.Millisecond
	s.local.shutdown = func(ns *natsserver.Server) {
		<-release
		stop(ns)
	}
	s.local.log.Errorf("JetStream stream '$G > X' critical write error: %s", "no space left on device")
	<-s.Hung()
	for _, text := range []string{s.Ready().Error(), log.String()} {
		if !strings.Contains(text, "hangs") || !strings.Contains(text, "restart the process") {
			t.Errorf("got %s", text)
		}
	}
	if _, err := add(s, user("u"), store.Entry{Payload: []byte("2")}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("append: %v", err)
	}
	if _, err := s.Purge(ctx, user("u")); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("purge: %v", err)
	}
	if _, err := Open(ctx, Config{Dir: dir, Logger: quiet}); !errors.Is(err, ErrLocked) {
		t.Errorf("a second store: %v", err)
	}
	close(release)
	eventually(t, "recovery", func() bool { return s.Ready() == nil })
	put(t, s, user("u"), "2")
	if got, gap := read(t, s, user("u"), 0); strings.Join(got, " ") != "1 2" || gap {
		t.Errorf("got %q, gap %v", got, gap)
	}
}

// TestCloseHungServer: Close returns although the server hangs, and leaves the directory
// locked.
func TestCloseHungServer(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	put(t, s, user("u"), "1")
	release, stop := make(chan struct{}), s.local.shutdown
	s.local.patience = 10 * time.Millisecond
	s.local.shutdown = func(ns *natsserver.Server) {
		<-release
		stop(ns)
	}
	s.close()
	if _, err := Open(ctx, Config{Dir: dir, Logger: quiet}); !errors.Is(err, ErrLocked) {
		t.Errorf("a second store: %v", err)
	}
	close(release)
	eventually(t, "end of the server", func() bool { return s.local.stop() == nil })
	s.local.release() // as the end of the process does
	s = open(t, Config{Dir: dir})
	if got, gap := read(t, s, user("u"), 0); strings.Join(got, " ") != "1" || gap {
		t.Errorf("got %q, gap %v", got, gap)
	}
}

// TestSilentServer: a server that answers some requests in a row with nothing is started again;
// one answer, and an error that it answers with, are signs of life.
func TestSilentServer(t *testing.T) {
	late := fmt.Errorf("%w: %w", store.ErrUnavailable, context.DeadlineExceeded)
	var n silence
	for i, step := range []struct {
		err  error
		hung bool
	}{
		{late, false}, {late, false}, {nil, false}, {late, false}, {late, false}, {store.ErrFull, false},
		{late, false}, {late, false}, {late, true}, {late, false}, {late, false}, {late, true},
	} {
		if got := n.tooLong(step.err); got != step.hung {
			t.Errorf("step %d: %v", i, got)
		}
	}
}
