package inbox

import (
	"context"
	"encoding/json"
	"fmt"

	"fanfare/server/inbox/internal/subject"
	"fanfare/server/store"
)

// Purge deletes the messages of a box and returns how many there were. It works on
// a full disk, too.
func (s *Store) Purge(ctx context.Context, to store.Box) (uint64, error) {
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer cancel()
	b := subject.Of(to)
	last, err := s.last(ctx, b)
	if last == nil || err != nil {
		return 0, err
	}
	n, err := s.purge(ctx, b, last.Offset)
	s.tails.forget(b)
	return n, err
}

// purge deletes the messages of a box up to an offset.
func (s *Store) purge(ctx context.Context, b subject.Box, upTo uint64) (uint64, error) {
	if s.local != nil {
		// Before it happens, so that what is gone is not taken for lost.
		if err := s.local.account.Purge(b, upTo, s.now()); err != nil {
			if err = s.accountFailed(err); err != nil {
				return 0, err
			}
		}
	}
	return s.purgeStream(ctx, b, upTo)
}

func (s *Store) purgeStream(ctx context.Context, b subject.Box, upTo uint64) (uint64, error) {
	body := fmt.Sprintf(`{"filter":%q,"seq":%d}`, b.Subject, upTo+1)
	in, err := s.request(ctx, "$JS.API.STREAM.PURGE."+b.Kind.Stream(), []byte(body))
	if err != nil {
		return 0, s.missing(err)
	}
	var answer struct {
		Error  *apiError `json:"error"`
		Purged uint64    `json:"purged"`
	}
	if err := json.Unmarshal(in.Data, &answer); err != nil {
		return 0, s.unavailable(err)
	}
	if answer.Error != nil {
		return 0, s.unavailable(answer.Error)
	}
	return answer.Purged, nil
}

// purgeRead deletes what the user of an inbox has acknowledged, and returns how many
// messages that were.
func (s *Store) purgeRead(ctx context.Context, b subject.Box) (uint64, error) {
	if b.Kind != subject.Inbox {
		return 0, nil
	}
	acked, err := s.storedPosition(ctx, b.Name())
	if err != nil || acked.offset == 0 {
		return 0, err
	}
	return s.purge(ctx, b, acked.offset)
}
