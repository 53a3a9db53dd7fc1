package presence

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanfare/server/internal/presence"
)

const (
	streamName = "FANFARE_PRESENCE"
	namePrefix = "fanfare.presence.name."
	// occupantPrefix begins the subjects of occupants with a member, which every node follows.
	occupantPrefix = "fanfare.presence.occupant."
	leaderSubject  = "fanfare.presence.leader"
	// operation bounds one request to JetStream, and the acknowledgement of a batch.
	operation = 5 * time.Second
	// absentAge is how long it is stored that a user is absent, and since when.
	absentAge = 30 * 24 * time.Hour
	// leftAge is that for channels and occupants, which no request asks for. Nodes that follow them
	// read it within this time, or read all after an interruption.
	leftAge = time.Hour
	// loadBatch is how many records are read at a time.
	loadBatch = 1000
)

// record is a change in the journal.
type record struct {
	presence.Change
	sequence uint64
}

// journal is the stream. It belongs to the worker.
type journal struct {
	js       jetstream.JetStream
	replicas int

	id       string // of the stream: begins the identifiers of events
	sequence uint64 // of the last message, if this node leads
	reported uint64 // sequence of the last record that was reported
	marked   uint64 // what the stream says of reported
}

func subjectOf(n presence.Name) string {
	sum := sha256.Sum256([]byte(n)) // a name may have any characters and 64 KiB
	prefix := namePrefix
	if n.Kind() == presence.Occupant {
		prefix = occupantPrefix
	}
	return prefix + hex.EncodeToString(sum[:16])
}

// ageOf returns how long it is stored that a name is absent.
func ageOf(n presence.Name) time.Duration {
	if isOccupant(n) {
		return leftAge
	}
	return absentAge
}

func encodeRecord(c *presence.Change) []byte {
	b := []byte{1, 0}
	if c.Present {
		b[1] = 1
	}
	ms := int64(0)
	if !c.LastSeen.IsZero() {
		ms = c.LastSeen.UnixMilli()
	}
	return append(binary.AppendVarint(b, ms), c.Name...)
}

func decodeRecord(b []byte) (c presence.Change, ok bool) {
	if len(b) < 3 || b[0] != 1 || b[1] > 1 {
		return c, false
	}
	c.Present = b[1] == 1
	ms, n := binary.Varint(b[2:])
	if n <= 0 || len(b) < 2+n+2 {
		return c, false
	}
	if ms != 0 {
		c.LastSeen = time.UnixMilli(ms).UTC()
	}
	c.Name = presence.Name(b[2+n:])
	return c, true
}

// stream returns the stream, which it creates if it does not exist.
func (j *journal) stream(ctx context.Context) (jetstream.Stream, error) {
	return j.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: streamName, Subjects: []string{namePrefix + "*", occupantPrefix + "*", leaderSubject},
		Description: "fanfare: who is online, as it was reported",
		Storage:     jetstream.FileStorage, Replicas: j.replicas, MaxMsgsPerSubject: 1, AllowMsgTTL: true, AllowDirect: true,
	})
}

// errReplaced is the error of a write by a node that does not lead any more.
var errReplaced = errors.New("another node has written since")

// elect makes this node the leader, unless another one writes at the same time. It returns
// the term, what was reported as present, and the changes of which that is not known. It calls
// announce with the term as soon as no other node can be elected.
func (j *journal) elect(ctx context.Context, node string, announce func(term uint64)) (term uint64, present []presence.Name, open []record, err error) {
	bound, cancel := context.WithTimeout(ctx, operation)
	defer cancel()
	s, err := j.stream(bound)
	if err != nil {
		return 0, nil, nil, err
	}
	info := s.CachedInfo()
	j.id = strconv.FormatInt(info.Created.UnixMilli(), 36)
	j.sequence, j.reported, j.marked = info.State.LastSeq, 0, 0
	before, err := s.GetLastMsgForSubject(bound, leaderSubject)
	if err == nil {
		j.reported, _ = binary.Uvarint(before.Data)
	} else if !errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil, nil, err
	}
	if err := j.mark(bound, node); err != nil {
		return 0, nil, nil, err
	}
	term = j.sequence
	announce(term)
	records, err := j.load(ctx, s)
	for _, r := range records {
		if r.Present {
			present = append(present, r.Name)
		}
		if r.sequence > j.reported {
			open = append(open, r)
		}
	}
	return term, present, open, err
}

// mark writes which record was reported last, and which node leads.
func (j *journal) mark(ctx context.Context, node string) error {
	ack, err := j.js.Publish(ctx, leaderSubject, append(binary.AppendUvarint(nil, j.reported), node...), jetstream.WithExpectLastSequence(j.sequence))
	if err != nil {
		return replaced(err)
	}
	j.sequence, j.marked = ack.Sequence, j.reported
	return nil
}

// wrongLastSequence is the code of the error of JetStream.
const wrongLastSequence = 10071

func replaced(err error) error {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == wrongLastSequence {
		return errReplaced
	}
	return err
}

// load reads all records.
func (j *journal) load(ctx context.Context, s jetstream.Stream) (records []record, err error) {
	bound, cancel := context.WithTimeout(ctx, operation)
	defer cancel()
	c, err := s.CreateConsumer(bound, jetstream.ConsumerConfig{FilterSubjects: []string{namePrefix + "*", occupantPrefix + "*"}, AckPolicy: jetstream.AckNonePolicy,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: time.Minute})
	if err != nil {
		return nil, err
	}
	defer func() {
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), operation)
		defer cancel()
		s.DeleteConsumer(bound, c.CachedInfo().Name)
	}()
	for left := int(c.CachedInfo().NumPending); left > 0; {
		batch, err := c.Fetch(min(left, loadBatch), jetstream.FetchMaxWait(operation))
		if err != nil {
			return nil, err
		}
		n := 0
		for m := range batch.Messages() {
			n++
			meta, err := m.Metadata()
			if err != nil {
				return nil, err
			}
			change, ok := decodeRecord(m.Data())
			if !ok {
				return nil, fmt.Errorf("malformed record at %d of the stream %s, or one of another version", meta.Sequence.Stream, streamName)
			}
			records = append(records, record{change, meta.Sequence.Stream})
		}
		if err := batch.Error(); err != nil {
			return nil, err
		}
		if n == 0 { // the rest has expired
			break
		}
		left -= n
	}
	return records, ctx.Err()
}

// write appends changes. An error means that it is not known which of them were written.
func (j *journal) write(ctx context.Context, changes []presence.Change) (records []record, err error) {
	ctx, cancel := context.WithTimeout(ctx, operation)
	defer cancel()
	acks := make([]jetstream.PubAckFuture, 0, len(changes))
	for i := range changes {
		c := &changes[i]
		opts := []jetstream.PublishOpt{jetstream.WithExpectLastSequence(j.sequence + uint64(i))}
		if !c.Present {
			opts = append(opts, jetstream.WithMsgTTL(ageOf(c.Name)))
		}
		ack, err := j.js.PublishMsgAsync(&nats.Msg{Subject: subjectOf(c.Name), Data: encodeRecord(c)}, opts...)
		if err != nil {
			return nil, err
		}
		acks = append(acks, ack)
		records = append(records, record{*c, j.sequence + uint64(i) + 1})
	}
	for _, ack := range acks {
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			return nil, replaced(err)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	j.sequence += uint64(len(changes))
	return records, nil
}
