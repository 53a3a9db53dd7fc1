package webhook

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
)

// deadPage bounds the dead letters in one answer, in bytes.
const deadPage = 1 << 20

// AppendDead appends a JSON object with the dead letters after a position, about 1 MiB of
// them, oldest first: {"dead":[…],"more":true}.
func (s *Service) AppendDead(ctx context.Context, b []byte, after uint64) ([]byte, error) {
	answer := struct {
		Dead []letter `json:"dead"`
		More bool     `json:"more"`
	}{Dead: []letter{}}
	for size := 0; ; {
		l, err := s.queue.letter(ctx, after)
		if errors.Is(err, errEmpty) {
			break
		}
		if errors.Is(err, errMalformed) {
			after = l.At
			continue
		}
		if err != nil {
			return b, fmt.Errorf("webhook: dead letters: %w", err)
		}
		if size += len(l.Events); size > deadPage && len(answer.Dead) > 0 {
			answer.More = true
			break
		}
		answer.Dead, after = append(answer.Dead, l), l.At
	}
	text, err := json.Marshal(&answer)
	return append(b, text...), err
}

// Replay queues dead letters of webhooks that are configured again, and returns their number:
// the one at a position, or all if it is 0. Their events follow those that are queued. If it
// fails half way, the rest stay dead letters.
func (s *Service) Replay(ctx context.Context, at uint64) (n int, err error) {
	after := max(at, 1) - 1
	for {
		l, err := s.queue.letter(ctx, after)
		switch {
		case errors.Is(err, errMalformed):
			after = l.At
			continue
		case errors.Is(err, errEmpty), err == nil && at != 0 && l.At != at:
			return n, nil
		case err != nil:
			return n, fmt.Errorf("webhook: dead letters: %w", err)
		}
		after = l.At
		d := s.worker(l.Hook)
		if d == nil {
			if at != 0 {
				return 0, nil
			}
			continue
		}
		if err := s.queue.add(ctx, l.Hook, l.batch()); err != nil {
			return n, fmt.Errorf("webhook: replay: %w", err)
		}
		if err := s.queue.exhume(ctx, l.At); err != nil {
			return n, fmt.Errorf("webhook: replay: %w", err)
		}
		n++
		s.stats.replayed.Add(1)
		d.wake()
		if at != 0 {
			return n, nil
		}
	}
}
