package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"fanfare/server/inbox/internal/subject"
	"fanfare/server/store"
)

// query is JetStream's request for one message: that at a sequence, the last one of
// a subject, or the next one of a subject from a sequence on.
type query struct {
	seq  uint64
	next string
	last string
}

// encode returns it in JSON. Subjects need no escapes: see subject.Token.
func (q query) encode() []byte {
	b := make([]byte, 0, 64+len(q.next)+len(q.last))
	b = append(b, '{')
	if q.seq > 0 {
		b = append(b, `"seq":`...)
		b = strconv.AppendUint(b, q.seq, 10)
	}
	for _, f := range [2][2]string{{"next_by_subj", q.next}, {"last_by_subj", q.last}} {
		if f[1] == "" {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), f[0]...), `":"`...)
		b = append(append(b, f[1]...), '"')
	}
	return append(b, '}')
}

// get returns the message that a query finds, nil if there is none.
//
// With replicas any of them answers, also one that lags. So the leader is asked for the
// end of a box.
func (s *Store) get(ctx context.Context, k subject.Kind, q query) (*nats.Msg, error) {
	if sick := s.sick(); sick != nil {
		return nil, s.unavailable(sick)
	}
	if s.replicated.Load() && q.last != "" {
		return s.getFromLeader(ctx, k, q)
	}
	in, err := s.request(ctx, "$JS.API.DIRECT.GET."+k.Stream(), q.encode())
	if err != nil {
		return nil, s.missing(err)
	}
	if in.Header == nil {
		return nil, s.unavailable(errors.New("answer without header"))
	}
	switch status := in.Header.Get("Status"); status {
	case "":
		return in, nil
	case "404":
		return nil, nil
	default:
		return nil, s.unavailable(fmt.Errorf("direct get: %s %s", status, in.Header.Get("Description")))
	}
}

// getFromLeader asks the leader, which never lags.
func (s *Store) getFromLeader(ctx context.Context, k subject.Kind, q query) (*nats.Msg, error) {
	in, err := s.request(ctx, "$JS.API.STREAM.MSG.GET."+k.Stream(), q.encode())
	if err != nil {
		return nil, s.missing(err)
	}
	var answer struct {
		Error   *apiError `json:"error"`
		Message struct {
			Subject string    `json:"subject"`
			Seq     uint64    `json:"seq"`
			Header  []byte    `json:"hdrs"`
			Data    []byte    `json:"data"`
			Time    time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(in.Data, &answer); err != nil {
		return nil, s.unavailable(err)
	}
	switch {
	case answer.Error != nil && answer.Error.Code == codeNoMessage:
		return nil, nil
	case answer.Error != nil && answer.Error.Code == codeStreamNotFound:
		return nil, s.missing(errNoStream)
	case answer.Error != nil:
		return nil, s.unavailable(answer.Error)
	}
	m := &answer.Message
	out := &nats.Msg{Subject: m.Subject, Data: m.Data, Header: nats.Header{}}
	if len(m.Header) > 0 {
		if out.Header, err = nats.DecodeHeadersMsg(m.Header); err != nil {
			return nil, errors.Join(store.ErrDamaged, err)
		}
	}
	// As a direct get has them.
	out.Header.Set("Nats-Subject", m.Subject)
	out.Header.Set("Nats-Sequence", strconv.FormatUint(m.Seq, 10))
	out.Header.Set("Nats-Time-Stamp", m.Time.Format(time.RFC3339Nano))
	return out, nil
}

// getAgain asks the leader for a message that a replica does not have. It was removed
// only if the leader has been as far.
func (s *Store) getAgain(ctx context.Context, k subject.Kind, offset uint64) (*nats.Msg, error) {
	st, err := s.state(ctx, k)
	if err != nil {
		return nil, err
	}
	if st.Last < offset {
		return nil, s.unavailable(errors.New("the leading replica lags"))
	}
	return s.getFromLeader(ctx, k, query{seq: offset})
}

// at returns the message of a box at an offset, nil if the box has none there.
func (s *Store) at(ctx context.Context, b subject.Box, offset uint64) (*message, error) {
	if offset == 0 {
		return nil, nil
	}
	in, err := s.get(ctx, b.Kind, query{seq: offset})
	if in == nil && err == nil && s.replicated.Load() {
		in, err = s.getAgain(ctx, b.Kind, offset)
	}
	if in == nil || err != nil {
		return nil, err
	}
	if in.Header.Get("Nats-Subject") != b.Subject {
		return nil, nil // the offset is of a stream that had the name before
	}
	m := new(message)
	return m, m.parse(in)
}

// last returns the last message of a box, nil if there is none.
func (s *Store) last(ctx context.Context, b subject.Box) (*message, error) {
	return s.find(ctx, b.Kind, query{last: b.Subject})
}

// first returns the first message of a box, nil if there is none.
func (s *Store) first(ctx context.Context, b subject.Box) (*message, error) {
	return s.find(ctx, b.Kind, query{next: b.Subject, seq: 1})
}

func (s *Store) find(ctx context.Context, k subject.Kind, q query) (*message, error) {
	in, err := s.get(ctx, k, q)
	if in == nil || err != nil {
		return nil, err
	}
	m := new(message)
	return m, m.parse(in)
}
