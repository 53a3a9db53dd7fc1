package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanfare/server/internal/field"
	"fanfare/server/internal/natsconn"
)

// jetStreamQueue is a queue on JetStream, embedded or outside. Each node has two streams:
// batches, which are read by their sequence and purged when they are posted, and dead
// letters.
type jetStreamQueue struct {
	// Immutable.
	nc               *nats.Conn
	js               jetstream.JetStream
	local            *embedded // nil: an outside NATS
	name             string    // of the node, or of the cluster, in names of streams and subjects
	deadName         string    // of the node
	limit            int64
	replicas         int
	batches, letters atomicStream

	escalations     atomicStream
	escalationLimit int64
	escalationAge   time.Duration // of records that no node decides
}

// atomicStream is a stream, nil until it is known to exist.
type atomicStream = atomic.Pointer[jetstream.Stream]

const (
	// operation bounds one request to JetStream.
	operation = 5 * time.Second
	// deadAge is how long dead letters are kept.
	deadAge = 30 * 24 * time.Hour
)

// localName names an embedded queue.
const localName = "local"

// openEmbedded returns a queue in a directory.
func openEmbedded(ctx context.Context, cfg *Config) (*jetStreamQueue, error) {
	local := &embedded{dir: cfg.Dir}
	if err := local.start(); err != nil {
		return nil, err
	}
	nc, err := nats.Connect("", nats.InProcessServer(local), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.ReconnectJitter(0, 0))
	if err != nil {
		local.stop()
		return nil, fmt.Errorf("webhook: %w", err)
	}
	q, err := newJetStreamQueue(cfg, nc, localName, local)
	if err == nil {
		_, err = q.stream(ctx, &q.batches)
	}
	if err == nil {
		_, err = q.stream(ctx, &q.letters)
	}
	if err != nil {
		nc.Close()
		local.stop()
		return nil, fmt.Errorf("webhook: the queue in %s: %w", cfg.Dir, err)
	}
	return q, nil
}

// openOutside returns the queue of this node in an outside NATS, which may be away.
func openOutside(cfg *Config) (*jetStreamQueue, error) {
	nc, err := natsconn.Connect(cfg.nats(), natsconn.Handlers{})
	if err != nil {
		return nil, field.Wrapf("webhook: %w", err)
	}
	sum := sha256.Sum256([]byte(cfg.Node)) // a name may have any characters
	q, err := newJetStreamQueue(cfg, nc, hex.EncodeToString(sum[:6]), nil)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("webhook: %w", err)
	}
	return q, nil
}

func newJetStreamQueue(cfg *Config, nc *nats.Conn, name string, local *embedded) (*jetStreamQueue, error) {
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(operation))
	return &jetStreamQueue{nc: nc, js: js, local: local, name: name, deadName: name, limit: cfg.MaxBytes, replicas: cfg.Replicas,
		escalationLimit: cfg.MaxEscalations, escalationAge: cfg.MessageAge + cfg.MaxAge}, err
}

func (q *jetStreamQueue) subject(hook string) string {
	return "fanfare.webhooks." + q.name + ".batch." + hook
}
func (q *jetStreamQueue) deadSubject() string { return "fanfare.webhooks." + q.deadName + ".dead" }

// stream returns one of the streams, which it creates if it does not exist.
func (q *jetStreamQueue) stream(ctx context.Context, which *atomicStream) (jetstream.Stream, error) {
	if s := which.Load(); s != nil && (q.local == nil || q.local.works()) {
		return *s, nil
	}
	if q.local != nil {
		if err := q.local.heal(); err != nil {
			return nil, err
		}
	}
	cfg := jetstream.StreamConfig{
		Name: "FANFARE_WEBHOOKS_" + q.name, Subjects: []string{q.subject("*")},
		Description: "fanfare: events for webhooks that are not posted yet",
		Storage:     jetstream.FileStorage, Replicas: q.replicas, MaxBytes: q.limit, Discard: jetstream.DiscardNew,
	}
	switch which {
	case &q.escalations:
		cfg.Name, cfg.Subjects, cfg.Description = escalationStream, []string{escalationSubject}, "fanfare: messages to be reported if they are not acknowledged in time"
		cfg.MaxBytes, cfg.MaxAge, cfg.AllowDirect = q.escalationLimit, q.escalationAge, true
	case &q.letters:
		cfg.Name, cfg.Subjects = "FANFARE_WEBHOOKS_DEAD_"+q.deadName, []string{q.deadSubject()}
		cfg.Description, cfg.Discard, cfg.MaxAge = "fanfare: events that webhooks did not accept", jetstream.DiscardOld, deadAge
	}
	ctx, cancel := context.WithTimeout(ctx, operation)
	defer cancel()
	s, err := q.js.CreateOrUpdateStream(ctx, cfg)
	if err != nil {
		return nil, err
	}
	which.Store(&s)
	return s, nil
}

// publish stores a message.
func (q *jetStreamQueue) publish(ctx context.Context, which *atomicStream, subject string, data []byte, opts ...jetstream.PublishOpt) error {
	if _, err := q.stream(ctx, which); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, operation)
	defer cancel()
	_, err := q.js.Publish(ctx, subject, data, opts...)
	api, isAPI := errors.AsType[*jetstream.APIError](err)
	switch {
	case err == nil:
		return nil
	case isAPI && strings.Contains(api.Description, "maximum bytes exceeded"):
		return errFull
	case errors.Is(err, nats.ErrMaxPayload), isAPI && strings.Contains(api.Description, "message size exceeds"):
		return errTooLong
	}
	which.Store(nil) // it may be another NATS, without the stream
	return err
}

func (q *jetStreamQueue) add(ctx context.Context, hook string, b *batch) error {
	return q.publish(ctx, &q.batches, q.subject(hook), b.encode())
}

// get returns the first message of a subject from a sequence on.
func (q *jetStreamQueue) get(ctx context.Context, which *atomicStream, subject string, from uint64) (*jetstream.RawStreamMsg, error) {
	s, err := q.stream(ctx, which)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, operation)
	defer cancel()
	m, err := s.GetMsg(ctx, from, jetstream.WithGetMsgSubject(subject))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, errEmpty
	}
	if err != nil {
		which.Store(nil)
	}
	return m, err
}

func (q *jetStreamQueue) next(ctx context.Context, hook string, after uint64) (at uint64, b batch, err error) {
	m, err := q.get(ctx, &q.batches, q.subject(hook), after+1)
	if err != nil {
		return 0, b, err
	}
	b, err = decodeBatch(m.Data)
	return m.Sequence, b, err
}

func (q *jetStreamQueue) remove(ctx context.Context, hook string, upTo uint64) error {
	s, err := q.stream(ctx, &q.batches)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, operation)
	defer cancel()
	return s.Purge(ctx, jetstream.WithPurgeSubject(q.subject(hook)), jetstream.WithPurgeSequence(upTo+1))
}

func (q *jetStreamQueue) hooks(ctx context.Context) (all []string, err error) {
	s, err := q.stream(ctx, &q.batches)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, operation)
	defer cancel()
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(q.subject("*")))
	if err != nil {
		return nil, err
	}
	for subject := range info.State.Subjects {
		all = append(all, strings.TrimPrefix(subject, q.subject("")))
	}
	return all, nil
}

// storedLetter is a letter with what answers do not show.
type storedLetter struct {
	Hook   string `json:"hook"`
	Letter letter `json:"letter"`
}

func (q *jetStreamQueue) bury(ctx context.Context, l *letter) error {
	data, err := json.Marshal(storedLetter{l.Hook, *l})
	if err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	return q.publish(ctx, &q.letters, q.deadSubject(), data)
}

func (q *jetStreamQueue) letter(ctx context.Context, after uint64) (l letter, err error) {
	m, err := q.get(ctx, &q.letters, q.deadSubject(), after+1)
	if err != nil {
		return l, err
	}
	var s storedLetter
	if err := json.Unmarshal(m.Data, &s); err != nil || len(s.Letter.Events) < 2 {
		return letter{At: m.Sequence}, errMalformed
	}
	s.Letter.Hook, s.Letter.At = s.Hook, m.Sequence
	return s.Letter, nil
}

func (q *jetStreamQueue) exhume(ctx context.Context, at uint64) error {
	s, err := q.stream(ctx, &q.letters)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, operation)
	defer cancel()
	err = s.DeleteMsg(ctx, at)
	if errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		return nil // deleted by another call
	}
	return err
}

func (q *jetStreamQueue) usage(ctx context.Context) (u usage, err error) {
	for _, which := range []*atomicStream{&q.batches, &q.letters} {
		s, err := q.stream(ctx, which)
		if err != nil {
			return u, err
		}
		bound, cancel := context.WithTimeout(ctx, operation)
		info, err := s.Info(bound)
		cancel()
		if err != nil {
			return u, err
		}
		if which == &q.batches {
			u.batches, u.bytes = int64(info.State.Msgs), int64(info.State.Bytes)
		} else {
			u.dead = int64(info.State.Msgs)
		}
	}
	return u, nil
}

func (q *jetStreamQueue) close() {
	q.nc.Close()
	if q.local != nil {
		q.local.stop()
	}
}
