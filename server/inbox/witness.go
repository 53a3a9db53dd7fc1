package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"
)

// witness is what is known of the store beside the store, in a file of its own:
// JetStream that finds its files destroyed leaves them out and goes on with what
// is left, which here would be an empty inbox where messages were promised.
type witness struct {
	Streams map[string]testimony `json:"streams"`
}

// testimony is about one stream.
type testimony struct {
	// Last is a sequence that was stored, and on the disk.
	Last uint64 `json:"last"`
	// Messages are how many there were when the store was closed, all of them
	// younger than First. Zero: it was not closed.
	Messages uint64    `json:"messages,omitempty"`
	First    time.Time `json:"first,omitzero"`
}

var streams = []string{inboxStream, topicStream, ackStream}

// witnessEvery is how often the file is written, unless nothing has changed.
const witnessEvery = 10 * time.Second

func (s *Store) witnessFile() string { return filepath.Join(s.cfg.Dir, "witness.json") }

// checkWitness compares the store with the witness.
func (s *Store) checkWitness(ctx context.Context) error {
	file := s.witnessFile()
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a new store
	}
	if err != nil {
		return fmt.Errorf("inbox: %w", err)
	}
	advice := fmt.Sprintf("restore %s from a backup; or, to go on without what is lost, delete %s", s.cfg.Dir, file)
	var w witness
	if err := json.Unmarshal(b, &w); err != nil {
		return fmt.Errorf("%w: %s cannot be read: %w; %s", ErrDamaged, file, err, advice)
	}
	for stream, w := range w.Streams {
		st, err := s.state(ctx, stream)
		var what string
		switch {
		case errors.Is(err, errNoStream):
			what = "is gone"
		case err != nil:
			return err
		case st.Last < w.Last:
			what = fmt.Sprintf("ends at message %d, and had reached %d", st.Last, w.Last)
		case st.Lost != nil && len(st.Lost.Messages) > 0:
			what = fmt.Sprintf("has lost %d messages", len(st.Lost.Messages))
		case st.Messages < w.Messages && time.Since(w.First) < s.cfg.Age: // none can have grown old
			what = fmt.Sprintf("has %d messages, and had %d", st.Messages, w.Messages)
		default:
			continue
		}
		return fmt.Errorf("%w: stream %s %s (%s); %s", ErrDamaged, stream, what, s.local.log.worst(), advice)
	}
	return nil
}

// runWitness keeps the file up to date. What it says is as old as a flush to the
// disk may take: after a power cut the store, not the witness, may be behind.
func (s *Store) runWitness() {
	every := max(witnessEvery, 2*s.cfg.Sync)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	written, before := witness{}, s.testify(false)
	for {
		select {
		case <-s.quit:
			return
		case <-ticker.C:
		}
		if len(before.Streams) > 0 && !maps.Equal(before.Streams, written.Streams) {
			if err := s.write(before); err != nil {
				s.log.Error("the witness of the inbox cannot be written", "err", err)
			} else {
				written = before
			}
		}
		before = s.testify(false)
	}
}

// testify looks at the store. With closing nothing is written any more.
func (s *Store) testify(closing bool) witness {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Timeout)
	defer cancel()
	w := witness{make(map[string]testimony)}
	for _, stream := range streams {
		st, err := s.state(ctx, stream)
		if err != nil {
			continue
		}
		t := testimony{Last: st.Last}
		if closing {
			t.Messages, t.First = st.Messages, st.FirstTime
		}
		w.Streams[stream] = t
	}
	return w
}

// write replaces the file: there is the old one or the new one, never a half.
func (s *Store) write(w witness) error {
	b, err := json.Marshal(w)
	if err != nil {
		panic("BUG: inbox: " + err.Error())
	}
	f, err := os.CreateTemp(s.cfg.Dir, "witness-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), s.witnessFile())
}
