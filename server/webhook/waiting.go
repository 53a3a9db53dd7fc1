package webhook

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Waiting is what a former process has left in Config.Dir.
type Waiting struct {
	Batches     uint64 // of events that are not posted
	Escalations uint64 // that are not due, or were not reported
}

// LookAt returns what waits in the directory of a Service that is not open, for a program that is
// started without webhooks: nothing of it is posted until Open.
func LookAt(ctx context.Context, dir string) (w Waiting, err error) {
	if _, err := os.Stat(filepath.Join(dir, "jetstream")); errors.Is(err, os.ErrNotExist) {
		return w, nil
	}
	local := &embedded{dir: dir}
	if err := local.start(); err != nil {
		return w, err
	}
	defer local.stop()
	nc, err := nats.Connect("", nats.InProcessServer(local))
	if err != nil {
		return w, fmt.Errorf("webhook: %w", err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return w, fmt.Errorf("webhook: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, operation)
	defer cancel()
	for name, n := range map[string]*uint64{"FANFARE_WEBHOOKS_" + localName: &w.Batches, escalationStream: &w.Escalations} {
		s, err := js.Stream(ctx, name)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
		case err != nil:
			return w, fmt.Errorf("webhook: %w", err)
		default:
			*n = s.CachedInfo().State.Msgs
		}
	}
	return w, nil
}
