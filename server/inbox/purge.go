package inbox

import (
	"context"
	"encoding/json"
	"fmt"
)

// Purge deletes what a box has, and returns how much that was.
func (s *Store) Purge(ctx context.Context, b Box) (uint64, error) {
	ctx, cancel := s.within(ctx)
	defer cancel()
	n, err := s.purge(ctx, b, 0)
	s.tails.forget(b)
	return n, err
}

// purge deletes the messages of a box up to an offset; 0: all of them.
func (s *Store) purge(ctx context.Context, b Box, upTo uint64) (uint64, error) {
	body := fmt.Sprintf(`{"filter":%q}`, b.subject)
	if upTo > 0 {
		body = fmt.Sprintf(`{"filter":%q,"seq":%d}`, b.subject, upTo+1)
	}
	in, err := s.nc.RequestWithContext(ctx, "$JS.API.STREAM.PURGE."+b.stream, []byte(body))
	if err != nil {
		return 0, s.unavailable(err)
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

// purgeRead deletes what the user of an inbox has read, and returns how much.
func (s *Store) purgeRead(ctx context.Context, b Box) (uint64, error) {
	if b.stream != inboxStream {
		return 0, nil
	}
	acked, err := s.storedAck(ctx, b.reader(""))
	if err != nil || acked.offset == 0 {
		return 0, err
	}
	return s.purge(ctx, b, acked.offset)
}
