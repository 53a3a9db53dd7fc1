package webhook

import (
	"container/heap"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"fanfare/server"
	"fanfare/server/store"
)

// escalations is the part of a Service that reports unread messages. Every node stores records
// of them; one reads them, waits, and decides when they are due, so that an acknowledgement
// need not look for the record of its message.
type escalations struct {
	// Immutable.
	service *Service // reports to its own queue
	records records
	store   store.Store
	poll    time.Duration
	kick    chan struct{} // a record was stored by this process; buffered

	// Owned by the goroutine of run.
	waiting waiting
	next    uint64    // the sequence to read from
	checked time.Time // when reread was called last
}

// records stores escalations until they are decided. Its methods may be called concurrently.
type records interface {
	// put stores a record. It is stored once if it is put twice with an identifier within two
	// minutes. The error is errFull, or one that may pass.
	put(ctx context.Context, id string, data []byte) error
	// from returns the first records from a sequence on, none at the end.
	from(ctx context.Context, sequence uint64) ([]entry, error)
	// get returns the record of a sequence, errEmpty if there is none.
	get(ctx context.Context, sequence uint64) ([]byte, error)
	remove(ctx context.Context, sequence uint64) error
	// state returns the last sequence that was assigned, and how many records there are.
	state(ctx context.Context) (last uint64, count int64, err error)
}

// entry is a record with its sequence.
type entry struct {
	sequence uint64
	data     []byte
}

// record is what is stored of an escalation.
type record struct {
	User    string    `json:"user"`
	Message string    `json:"message,omitzero"`
	Epoch   string    `json:"epoch"`
	Offset  uint64    `json:"offset"`
	Due     time.Time `json:"due"`
}

// id returns the identifier of the event, the same whenever and wherever it is reported.
func (r *record) id() string {
	sum := sha256.Sum256([]byte(r.Epoch + "\x00" + r.User))
	return hex.EncodeToString(sum[:8]) + "-" + strconv.FormatUint(r.Offset, 10)
}

// due is a record that waits. 16 bytes of each are in memory; the record is read when it is due.
type due struct {
	at       int64 // in Unix milliseconds
	sequence uint64
}

// waiting is a heap of records, the earliest first.
type waiting []due

func (w waiting) Len() int           { return len(w) }
func (w waiting) Less(i, k int) bool { return w[i].at < w[k].at }
func (w waiting) Swap(i, k int)      { w[i], w[k] = w[k], w[i] }
func (w *waiting) Push(x any)        { *w = append(*w, x.(due)) }
func (w *waiting) Pop() any {
	last := len(*w) - 1
	x := (*w)[last]
	*w = (*w)[:last]
	return x
}

var _ server.Escalator = (*Service)(nil)

// CheckEscalation implements server.Escalator.
func (s *Service) CheckEscalation(after time.Duration) error {
	if s.escalations == nil {
		return fmt.Errorf("%w: messages are not stored", server.ErrNoEscalator)
	}
	switch err := s.taken(server.MessageUnread); {
	case err != nil:
		return fmt.Errorf("%w: %w", server.ErrNoEscalator, err)
	case after > s.cfg.MessageAge:
		return fmt.Errorf("%w: the time is %v, and messages are stored for %v; want a shorter time", server.ErrEscalation, after, s.cfg.MessageAge)
	}
	return nil
}

// Escalate implements server.Escalator.
func (s *Service) Escalate(ctx context.Context, e server.Escalation) error {
	if s.escalations == nil {
		return server.ErrNoEscalator
	}
	data, err := json.Marshal(&record{User: e.User, Message: e.ID, Epoch: e.Epoch, Offset: e.Offset, Due: stamp(e.Due)})
	if err != nil {
		return fmt.Errorf("webhook: escalation: %w", err)
	}
	// The epoch of an embedded store is another after a restart, so it is not in the identifier.
	sum := sha256.Sum256([]byte(e.User))
	switch err := s.escalations.records.put(ctx, hex.EncodeToString(sum[:12])+"-"+strconv.FormatUint(e.Offset, 10), data); {
	case errors.Is(err, errFull):
		return fmt.Errorf("%w: escalations that are not due take %d bytes, which is the limit", store.ErrFull, s.cfg.MaxEscalations)
	case err != nil:
		return fmt.Errorf("%w: webhook: escalation: %w", store.ErrUnavailable, err)
	}
	select {
	case s.escalations.kick <- struct{}{}:
	default:
	}
	return nil
}

const (
	// escalatePoll is how often the leader of a cluster looks for records of other nodes, which
	// is how late an escalation can be. On a single node Escalate tells of them.
	escalatePoll = 500 * time.Millisecond
	localPoll    = time.Minute
	// escalateRetry is the pause after an error. It is longer than that of a node whose
	// acknowledgements could not be stored, so that an outage of NATS does not make them unread.
	escalateRetry = 2 * time.Second
	// rereadEvery is how often the loop looks whether the stream was lost and created again.
	rereadEvery = 30 * time.Second
	// escalateBatch records are decided together, of which escalateAtOnce ask the store at a time.
	escalateBatch  = 100
	escalateAtOnce = 16
)

// warnOfWaiting logs how many records wait although no webhook is told of them.
func (x *escalations) warnOfWaiting() {
	err := x.service.taken(server.MessageUnread)
	if err == nil {
		return
	}
	ctx, cancel := context.WithTimeout(x.service.ctx, operation)
	defer cancel()
	if _, count, e := x.records.state(ctx); e == nil && count > 0 {
		x.service.log.Warn("escalations wait that will not be reported", "escalations", count, "err", err)
	}
}

// run decides records until ctx is done.
func (x *escalations) run(ctx context.Context) {
	x.warnOfWaiting()
	failed := ""
	for {
		wait, err := x.step(ctx, x.service.now())
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			wait = escalateRetry
			if text := err.Error(); text != failed {
				failed = text
				x.service.log.Warn("unread messages cannot be escalated; retrying", "err", err)
			}
		case failed != "":
			failed = ""
			x.service.log.Info("unread messages are escalated again")
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-x.kick:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// step reads the records that are new and decides those that are due, and returns when it is
// to be called again at the latest.
func (x *escalations) step(ctx context.Context, now time.Time) (wait time.Duration, err error) {
	if err := x.read(ctx, now); err != nil {
		return 0, err
	}
	for len(x.waiting) > 0 && x.waiting[0].at <= now.UnixMilli() {
		if err := x.decide(ctx, now); err != nil {
			return 0, err
		}
	}
	wait = x.poll
	if len(x.waiting) > 0 {
		wait = min(wait, time.UnixMilli(x.waiting[0].at).Sub(now))
	}
	return wait, nil
}

// read reads the records that are new.
func (x *escalations) read(ctx context.Context, now time.Time) error {
	if now.Sub(x.checked) >= rereadEvery {
		last, _, err := x.records.state(ctx)
		if err != nil {
			return err
		}
		if last+1 < x.next { // another stream
			x.waiting, x.next = nil, 0
		}
		x.checked = now
	}
	for {
		more, err := x.records.from(ctx, x.next)
		if err != nil || len(more) == 0 {
			return err
		}
		for _, st := range more {
			x.next = st.sequence + 1
			var r record
			if err := json.Unmarshal(st.data, &r); err != nil {
				x.service.log.Error("malformed escalation dropped", "sequence", st.sequence, "err", err)
				if err := x.records.remove(ctx, st.sequence); err != nil {
					return err
				}
				continue
			}
			heap.Push(&x.waiting, due{r.Due.UnixMilli(), st.sequence})
		}
	}
}

// verdict is what becomes of a record.
type verdict struct {
	due    due
	fire   bool
	record record
	unread server.Unread
	err    error // the record has to wait
}

// decide decides records that are due, at most escalateBatch. After an error they wait on.
func (x *escalations) decide(ctx context.Context, now time.Time) error {
	var batch []verdict
	for len(batch) < escalateBatch && len(x.waiting) > 0 && x.waiting[0].at <= now.UnixMilli() {
		batch = append(batch, verdict{due: heap.Pop(&x.waiting).(due)})
	}
	inParallel(batch, func(v *verdict) { x.judge(ctx, v) })
	var events []server.Event
	var ids []string
	for i := range batch {
		if v := &batch[i]; v.err == nil && v.fire {
			events = append(events, server.Event{Kind: server.MessageUnread, Time: now, User: v.record.User, Unread: &v.unread})
			ids = append(ids, v.record.id())
		}
	}
	var reported error
	if len(events) > 0 {
		reported = x.service.report(ctx, events, ids)
	}
	inParallel(batch, func(v *verdict) {
		if v.fire && v.err == nil {
			v.err = reported
		}
		if v.err == nil {
			v.err = x.records.remove(ctx, v.due.sequence)
		}
	})
	var errs error
	for i := range batch {
		switch v := &batch[i]; {
		case v.err != nil:
			heap.Push(&x.waiting, v.due)
			errs = v.err // one of them says why
		case v.fire: // the recorder has counted it
		case v.record.Offset != 0: // else another node has decided it
			x.service.stats.cancelled.Add(1)
		}
	}
	return errs
}

// judge decides whether a record is reported: the user has not acknowledged the message.
func (x *escalations) judge(ctx context.Context, v *verdict) {
	data, err := x.records.get(ctx, v.due.sequence)
	if errors.Is(err, errEmpty) {
		return
	}
	if err == nil {
		err = json.Unmarshal(data, &v.record)
	}
	if err != nil {
		v.err = err
		return
	}
	r, box := &v.record, store.Box{User: v.record.User}
	v.unread = server.Unread{Message: r.Message, Epoch: r.Epoch, Offset: r.Offset}
	// In another history the offset denotes another message, or none.
	same, err := x.store.Continues(ctx, box, r.Epoch, r.Offset)
	if err != nil {
		v.err = err
		return
	}
	if same {
		acked, known, err := x.store.Acked(ctx, box, r.User)
		if err != nil && !errors.Is(err, store.ErrDamaged) { // a damaged position acknowledges nothing
			v.err = err
			return
		}
		if err == nil && known && acked >= r.Offset {
			return
		}
		m, err := x.store.Get(ctx, box, r.Offset)
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			v.err = err
			return
		}
		same = m != nil
	}
	v.unread.Deleted, v.fire = !same, true
}

// inParallel calls f for each verdict, for some of them at a time.
func inParallel(batch []verdict, f func(*verdict)) {
	var all sync.WaitGroup
	for first := range min(len(batch), escalateAtOnce) {
		all.Go(func() {
			for i := first; i < len(batch); i += escalateAtOnce {
				f(&batch[i])
			}
		})
	}
	all.Wait()
}
