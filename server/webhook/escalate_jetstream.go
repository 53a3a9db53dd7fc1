package webhook

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The stream of escalations, of which a cluster has one.
const (
	escalationStream  = "FANFARE_ESCALATIONS"
	escalationSubject = "fanfare.escalations"
	// directGet is the subject of JetStream's API for reading many messages, escalationPage how
	// many are read at a time.
	directGet      = "$JS.API.DIRECT.GET." + escalationStream
	escalationPage = 500
)

// escalationRecords are the records in JetStream, over the connection of a queue.
type escalationRecords struct{ q *jetStreamQueue }

func (r escalationRecords) put(ctx context.Context, id string, data []byte) error {
	return r.q.publish(ctx, &r.q.escalations, escalationSubject, data, jetstream.WithMsgID(id))
}

func (r escalationRecords) from(ctx context.Context, sequence uint64) ([]entry, error) {
	if _, err := r.q.stream(ctx, &r.q.escalations); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, operation)
	defer cancel()
	all, err := r.page(ctx, max(sequence, 1))
	if err != nil {
		r.q.escalations.Store(nil) // it may be another NATS, without the stream
	}
	return all, err
}

// page reads the records from a sequence on.
func (r escalationRecords) page(ctx context.Context, sequence uint64) (all []entry, err error) {
	body, err := json.Marshal(map[string]any{"seq": sequence, "batch": escalationPage, "next_by_subj": escalationSubject})
	if err != nil {
		return nil, err
	}
	inbox := r.q.nc.NewInbox()
	replies, err := r.q.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer replies.Unsubscribe()
	if err := r.q.nc.PublishRequest(directGet, inbox, body); err != nil {
		return nil, err
	}
	for {
		m, err := replies.NextMsgWithContext(ctx)
		if err != nil {
			return nil, err
		}
		switch status := m.Header.Get("Status"); status {
		case "":
			at, err := strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64)
			if err != nil {
				return nil, fmt.Errorf("a message without a sequence: %w", err)
			}
			all = append(all, entry{at, m.Data})
		case "204", "404": // the end; there are none
			return all, nil
		case "503":
			return nil, nats.ErrNoResponders
		default:
			return nil, fmt.Errorf("JetStream answers %s %s", status, m.Header.Get("Description"))
		}
	}
}

func (r escalationRecords) get(ctx context.Context, sequence uint64) ([]byte, error) {
	m, err := r.q.get(ctx, &r.q.escalations, escalationSubject, sequence)
	if err != nil {
		return nil, err
	}
	if m.Sequence != sequence { // the next one: this one was removed
		return nil, errEmpty
	}
	return m.Data, nil
}

func (r escalationRecords) remove(ctx context.Context, sequence uint64) error {
	s, err := r.q.stream(ctx, &r.q.escalations)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, operation)
	defer cancel()
	err = s.DeleteMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) || errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil // removed by another node
	}
	return err
}

func (r escalationRecords) state(ctx context.Context) (last uint64, count int64, err error) {
	s, err := r.q.stream(ctx, &r.q.escalations)
	if err != nil {
		return 0, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, operation)
	defer cancel()
	info, err := s.Info(ctx)
	if err != nil {
		return 0, 0, err
	}
	return info.State.LastSeq, int64(info.State.Msgs), nil
}
