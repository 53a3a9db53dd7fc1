package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// askLeader is ask of the one replica that is never behind.
func (s *Store) askLeader(ctx context.Context, stream string, q query) (*nats.Msg, error) {
	in, err := s.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, q.encode())
	if err != nil {
		return nil, s.unavailable(err)
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
	case answer.Error != nil:
		return nil, s.unavailable(answer.Error)
	}
	m := &answer.Message
	out := &nats.Msg{Subject: m.Subject, Data: m.Data, Header: nats.Header{}}
	if len(m.Header) > 0 {
		if out.Header, err = nats.DecodeHeadersMsg(m.Header); err != nil {
			return nil, errors.Join(ErrDamaged, err)
		}
	}
	// As a direct get has them.
	out.Header.Set("Nats-Subject", m.Subject)
	out.Header.Set("Nats-Sequence", strconv.FormatUint(m.Seq, 10))
	out.Header.Set("Nats-Time-Stamp", m.Time.Format(time.RFC3339Nano))
	return out, nil
}

const codeNoMessage = 10037

// askAgain asks the leader for a message that another replica does not have. It is
// not there any more only if the leader has been as far.
func (s *Store) askAgain(ctx context.Context, stream string, offset uint64) (*nats.Msg, error) {
	st, err := s.state(ctx, stream)
	if err != nil {
		return nil, err
	}
	if st.Last < offset {
		return nil, s.unavailable(errors.New("the replica that leads is behind"))
	}
	return s.askLeader(ctx, stream, query{Seq: offset})
}
