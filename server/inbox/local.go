package inbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fanfare/server/inbox/internal/account"
	"fanfare/server/inbox/internal/datadir"
	"fanfare/server/inbox/internal/subject"
	"fanfare/server/internal/field"
	"fanfare/server/store"
)

// openLocal opens the directory of an embedded store: it compares the files with the
// account before anything is changed, starts the server, and compares what that has
// recovered.
func (s *Store) openLocal(ctx context.Context) error {
	l := s.local
	err := l.acquire()
	if err != nil {
		return s.diskError(err)
	}
	err = l.reserve.Acquire()
	full := err != nil
	if full && !datadir.IsDiskFull(err.Error()) {
		return fmt.Errorf("inbox: %w", err)
	}
	err = s.startLocal(ctx)
	if err != nil && datadir.IsDiskFull(err.Error()) && !full {
		full = true
		l.reserve.Release()
		err = s.startLocal(ctx)
	}
	if err != nil {
		var limit limitError
		if full && !errors.Is(err, store.ErrDamaged) && !errors.As(err, &limit) && !datadir.IsDiskFull(err.Error()) {
			err = fmt.Errorf("%w (%w)", datadir.DiskFull(l.dir), err) // JetStream does not always say so
		}
		return s.diskError(err)
	}
	if full {
		s.reject(datadir.DiskFull(l.dir))
	}
	return nil
}

// diskError recognizes a full disk by the words of the system.
func (s *Store) diskError(err error) error {
	if !errors.Is(err, store.ErrDiskFull) && datadir.IsDiskFull(err.Error()) {
		return fmt.Errorf("%w (%w)", datadir.DiskFull(s.local.dir), err)
	}
	return err
}

// startLocal starts the embedded server and connects to it. After an error nothing
// runs.
func (s *Store) startLocal(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	l := s.local
	began := s.now()
	c, err := account.Inspect(ctx, l.dir, l.boot, began)
	if err != nil {
		return fmt.Errorf("inbox: %w", err)
	}
	if !c.Loss.Tolerable() {
		if !s.cfg.AcceptLoss {
			return c.Err()
		}
	}
	if err := s.verifyLimits(c); err != nil {
		return err
	}
	had := c.Tally.Limits
	s.logDamage(c)
	if err := account.RemoveClosing(l.dir); err != nil {
		return fmt.Errorf("inbox: %w", err)
	}
	if err := c.Repair(); err != nil {
		return fmt.Errorf("inbox: %w", err)
	}
	if err := s.recordLimits(c); err != nil {
		return fmt.Errorf("inbox: account: %w", err)
	}
	defer func() {
		if err == nil {
			return
		}
		if link := s.link.Swap(nil); link != nil {
			link.nc.Close()
		}
		l.stop()
	}()
	if err := l.start(); err != nil {
		return err
	}
	if err := s.connectLocal(); err != nil {
		return err
	}
	if err := s.ensureLocalStreams(ctx, c); err != nil {
		return err
	}
	if err := s.compareStreams(ctx, c); err != nil {
		return err
	}
	if err := s.logRemoved(ctx, c, had); err != nil {
		return err
	}
	s.prepared.Store(true)
	if err := s.announceLoss(ctx, c); err != nil {
		return err
	}
	if err := s.beginEpoch(ctx, c); err != nil {
		return err
	}
	if took := s.now().Sub(began); took > 5*time.Second {
		s.log.Info("stored messages verified", "messages", c.Tally.Messages, "took", took.Round(time.Millisecond))
	}
	return nil
}

// effectOfLoss is the log attribute of lost messages that the store opens without.
const effectOfLoss = "the store opens, and readers get a gap"

// logDamage logs what is missing or damaged.
func (s *Store) logDamage(c *account.Check) {
	for k := range subject.Kinds {
		st := &c.Streams[k]
		for _, d := range st.Damaged {
			s.log.Warn("damaged part of a block file discarded", "stream", k.Stream(), "file", d.File, "offset", d.Offset, "bytes", d.Bytes)
		}
	}
	for _, d := range c.Torn {
		s.log.Info("incomplete last write discarded", "file", d.File, "offset", d.Offset, "bytes", d.Bytes, "cause", "the process was killed")
	}
	for _, file := range c.Descriptions {
		s.log.Warn("description of a stream damaged", "file", file, "effect", "it is written again; its messages are verified")
	}
	s.logSetBack(c)
	switch {
	case c.Loss.Nothing():
	case c.Loss.Tolerable():
		s.log.Warn("stored messages lost in a power cut", "missing", c.Loss.Describe(), "effect", effectOfLoss)
	default:
		s.log.Error("stored messages missing", "missing", c.Loss.Describe(), "effect", effectOfLoss)
	}
}

func (s *Store) connectLocal() error {
	nc, err := nats.Connect("",
		nats.InProcessServer(s.local),
		nats.Name("fanfare inbox"),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(10*time.Millisecond),
		nats.ReconnectJitter(10*time.Millisecond, 10*time.Millisecond),
		nats.ReconnectBufSize(-1),
		nats.FlusherTimeout(s.cfg.Timeout), // a server that hangs does not read
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			s.log.Warn("embedded JetStream client error", "err", err)
		}),
	)
	if err != nil {
		return fmt.Errorf("%w: embedded server: %w", store.ErrUnavailable, err)
	}
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(s.cfg.Timeout))
	if err != nil {
		nc.Close()
		return fmt.Errorf("inbox: %w", err)
	}
	s.link.Store(&link{nc, js})
	return nil
}

func (s *Store) ensureLocalStreams(ctx context.Context, c *account.Check) error {
	for k := range subject.Kinds {
		var first uint64
		if k != subject.Ack && !c.Streams[k].Exists && c.LastOffset(k) > 0 {
			first = c.LastOffset(k) + 1
		}
		if _, _, err := s.ensureStream(ctx, k, first); err != nil {
			return field.Wrapf("inbox: stream %s: %w", k.Stream(), err)
		}
	}
	return nil
}

// recordLimits adds stricter limits to the account before the server applies them.
func (s *Store) recordLimits(c *account.Check) error {
	was, l := c.Tally.Limits, s.limits()
	if c.Tally.Valid <= 0 || !c.Tally.Limited {
		return nil
	}
	c.Tally.Add(&account.Entry{What: account.EntryLimits, Limits: l})
	if c.Tally.Limits == was {
		return nil
	}
	a := s.local.account
	if err := a.Open(c.Tally.Valid); err != nil {
		return err
	}
	if err := a.Raw(account.AppendLimits(nil, l)); err != nil {
		return err
	}
	size, err := a.Sync()
	c.Tally.Valid = size
	return err
}

// beginEpoch brings the account up to date, and begins an epoch in it.
func (s *Store) beginEpoch(ctx context.Context, c *account.Check) error {
	l := s.local
	var began [2]uint64
	for k := range subject.Ack {
		st, err := s.state(ctx, k)
		if err != nil {
			return err
		}
		began[k] = max(st.Last, c.LastOffset(k))
		c.Tally.First[k] = max(c.Tally.First[k], st.First)
	}
	for k := range subject.Kinds { // the account says from here on that all of it is on the disk
		if err := account.SyncBlocks(l.dir, k, s.now()); err != nil {
			return fmt.Errorf("inbox: %w", err)
		}
	}
	epochs := l.nextEpochs(c, began)
	present := epochs[len(epochs)-1]
	limits := s.limits()
	if c.MustReplace(limits) {
		if err := l.account.Replace(c, limits, epochs, began); err != nil {
			return fmt.Errorf("inbox: account: %w", err)
		}
	} else {
		if err := l.account.Open(c.Tally.Valid); err != nil {
			return fmt.Errorf("inbox: account: %w", err)
		}
		if err := l.account.Raw(account.AppendEpoch(account.AppendLimits(nil, limits), present)); err != nil {
			return fmt.Errorf("inbox: %w", err)
		}
	}
	if _, err := l.account.Sync(); err != nil {
		return fmt.Errorf("inbox: account: %w", err)
	}
	if err := l.markUsed(); err != nil && !datadir.IsDiskFull(err.Error()) {
		return fmt.Errorf("inbox: %w", err)
	}
	if err := l.account.BeginEpoch(present.ID, began); err != nil {
		return fmt.Errorf("inbox: %w", err)
	}
	os.Remove(account.WitnessFile(l.dir))
	s.snapshotSize, _ = l.account.Sizes()
	for k := range subject.Ack {
		s.history[k].begin(epochs, began[k])
	}
	return s.fillFilter(c)
}

func (s *Store) limits() account.Limits {
	cfg := &s.cfg
	return account.Limits{Messages: uint64(cfg.Messages), Age: cfg.Age, Disk: uint64(cfg.Disk),
		DropOldest: cfg.DiskFull == FullDropOldest, Flush: cfg.Sync < 0}
}

// fillFilter adds all names that may have messages or positions to the filter, and notes
// where the boxes end.
func (s *Store) fillFilter(c *account.Check) error {
	s.filled.Reset(len(c.Tally.Boxes) + len(c.Tally.Positions) + len(c.Strays) + len(c.Stored))
	for h := range c.Tally.Boxes {
		s.filled.Add(h)
	}
	for h := range c.Stored {
		s.filled.Add(h)
	}
	for _, name := range c.Loss.Positions {
		s.filled.Add(account.HashName(subject.Ack, name))
	}
	for b := range c.Loss.Boxes {
		s.filled.Add(account.HashName(b.Kind, b.Name()))
	}
	s.ends.begin(c.Ends())
	return nil
}

// lastMark brings the account up to date at the end, after a mark that may be in progress.
func (s *Store) lastMark() error {
	if s.marking != nil {
		select {
		case <-s.marking:
		case <-time.After(s.cfg.StopTimeout):
			return fmt.Errorf("%w: the disk of %s does not answer", store.ErrUnavailable, s.local.dir)
		}
	}
	return s.markAccount()
}

// closeLocal ends an embedded store in order.
func (s *Store) closeLocal() {
	l := s.local
	defer l.release()
	link := s.link.Load()
	if link == nil {
		return
	}
	err := s.sick()
	if err == nil {
		err = s.lastMark()
	}
	var positions state
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Timeout)
		positions, err = s.state(ctx, subject.Ack)
		cancel()
	}
	link.nc.Close()
	if hangs := l.stop(); err == nil {
		err = hangs
	}
	if err == nil {
		err = l.account.WriteClosing(positions.Last, s.history[subject.Inbox].epoch(), s.now())
	}
	if err != nil && s.sick() == nil {
		s.log.Warn("account update failed", "err", err)
	}
}
