package inbox

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"fanfare/server/inbox/internal/subject"
	"fanfare/server/store"
)

// TestSilence: an append that waits for an answer returns when the disk fails, and
// does not wait for its Timeout.
func TestSilence(t *testing.T) {
	for _, test := range []struct {
		name, says string
		is         error
		want       string
	}{
		{"full", "JetStream stream '$G > X' critical write error: write x.blk: no space left on device", store.ErrDiskFull, "free some space where "},
		{"quota", "Filestore [X] Critical write error: disk quota exceeded", store.ErrDiskFull, "free some space where "},
		{"broken", "JetStream stream '$G > X' critical write error: input/output error", store.ErrUnavailable, "input/output error"},
		{"forbidden", "Filesystem permission denied while writing msg, disabling JetStream: x", store.ErrUnavailable, "permission denied"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := open(t, Config{Timeout: time.Minute})
			// A subscriber that takes messages and does not answer.
			nc, err := nats.Connect("", nats.InProcessServer(s.local))
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			silent := subject.Box{Kind: subject.Inbox, Subject: "silent"}
			taken := make(chan *nats.Msg, 1)
			if _, err := nc.ChanSubscribe(silent.Subject, taken); err != nil {
				t.Fatal(err)
			}
			if err := nc.Flush(); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			answer := make(chan error)
			go func() {
				p := &pending{s.Store, silent, store.Entry{Payload: []byte("x")}, time.Now(), s.tails.enter(silent)}
				_, err := p.Finish(ctx)
				answer <- err
			}()
			<-taken
			s.local.log.Errorf("%s", test.says)
			err = <-answer
			if !errors.Is(err, test.is) || !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v", err)
			}
			if errors.Is(err, store.ErrDiskFull) != (test.is == store.ErrDiskFull) {
				t.Errorf("got %v", err)
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("after %v", took)
			}
		})
	}
}
