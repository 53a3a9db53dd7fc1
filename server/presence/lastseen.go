package presence

import (
	"context"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"

	"fanfare/server/internal/presence"
)

const (
	// directGet is the subject of JetStream's API for reading the last messages of many subjects,
	// of which a request may name 1,024.
	directGet = "$JS.API.DIRECT.GET." + streamName
	seenBatch = 1000
	// seenTimeout bounds LastSeen.
	seenTimeout = 2 * time.Second
)

// LastSeen returns when the users had a session last, for those who were reported as offline
// within 30 days.
func (s *Service) LastSeen(ctx context.Context, users []string) (map[string]time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, seenTimeout)
	defer cancel()
	seen := make(map[string]time.Time)
	for len(users) > 0 {
		n := min(len(users), seenBatch)
		if err := s.readLastSeen(ctx, users[:n], seen); err != nil {
			return seen, fmt.Errorf("presence: last seen: %w", err)
		}
		users = users[n:]
	}
	return seen, nil
}

func (s *Service) readLastSeen(ctx context.Context, users []string, seen map[string]time.Time) error {
	var request struct {
		Subjects []string `json:"multi_last"`
		Batch    int      `json:"batch"`
	}
	request.Batch = len(users)
	for _, user := range users {
		request.Subjects = append(request.Subjects, subjectOf(presence.NameOf(presence.User, user)))
	}
	body, err := json.Marshal(&request)
	if err != nil {
		return err
	}
	inbox := s.nc.NewInbox()
	replies, err := s.nc.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	defer replies.Unsubscribe()
	if err := s.nc.PublishRequest(directGet, inbox, body); err != nil {
		return err
	}
	for {
		m, err := replies.NextMsgWithContext(ctx)
		if err != nil {
			return err
		}
		switch status := m.Header.Get("Status"); status {
		case "":
			if c, ok := decodeRecord(m.Data); ok && !c.Present && !c.LastSeen.IsZero() {
				seen[c.Name.Text()] = c.LastSeen
			}
		case "204", "404": // the end; none of the subjects has a message
			return nil
		case "503":
			return nats.ErrNoResponders
		default:
			return fmt.Errorf("JetStream answers %s %s", status, m.Header.Get("Description"))
		}
	}
}
