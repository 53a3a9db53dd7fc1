package inbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

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
	err = l.reserve.acquire()
	full := err != nil
	if full && !isDiskFull(err.Error()) {
		return fmt.Errorf("inbox: %w", err)
	}
	err = s.startLocal(ctx)
	if err != nil && isDiskFull(err.Error()) && !full {
		full = true
		l.reserve.release()
		err = s.startLocal(ctx)
	}
	if err != nil {
		var limit limitError
		if full && !errors.Is(err, store.ErrDamaged) && !errors.As(err, &limit) && !isDiskFull(err.Error()) {
			err = fmt.Errorf("%w (%w)", errDiskFull(l.dir), err) // JetStream does not always say so
		}
		return s.diskError(err)
	}
	if full {
		s.reject(errDiskFull(l.dir))
	}
	return nil
}

// diskError recognizes a full disk by the words of the system.
func (s *Store) diskError(err error) error {
	if !errors.Is(err, store.ErrDiskFull) && isDiskFull(err.Error()) {
		return fmt.Errorf("%w (%w)", errDiskFull(s.local.dir), err)
	}
	return err
}

// startLocal starts the embedded server and connects to it. After an error nothing
// runs.
func (s *Store) startLocal(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	l := s.local
	began := time.Now()
	c, err := inspect(ctx, l.dir, l.boot, began)
	if err != nil {
		return fmt.Errorf("inbox: %w", err)
	}
	if !c.loss.tolerable() {
		if !s.cfg.AcceptLoss {
			return c.err()
		}
	}
	s.logDamage(c)
	if err := removeClosing(l.dir); err != nil {
		return fmt.Errorf("inbox: %w", err)
	}
	if err := c.repair(); err != nil {
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
	s.prepared.Store(true)
	if err := s.announceLoss(ctx, c); err != nil {
		return err
	}
	if err := s.beginEpoch(ctx, c); err != nil {
		return err
	}
	if took := time.Since(began); took > 5*time.Second {
		s.log.Info("stored messages verified", "messages", c.tally.messages, "took", took.Round(time.Millisecond))
	}
	return nil
}

// logDamage logs what is missing or damaged.
func (s *Store) logDamage(c *check) {
	for k := range kinds {
		st := &c.streams[k]
		for _, d := range st.damaged {
			s.log.Warn("damaged part of a block file left out", "stream", k.stream(), "file", d.file, "offset", d.offset, "bytes", d.bytes)
		}
	}
	for _, d := range c.torn {
		s.log.Info("incomplete last write left out, as a process that is killed may leave one", "file", d.file, "offset", d.offset, "bytes", d.bytes)
	}
	s.logSetBack(c)
	switch {
	case c.loss.nothing():
	case c.loss.tolerable():
		s.log.Warn("a power cut lost stored messages: readers are told of a gap", "missing", c.loss.describe())
	default:
		s.log.Error("stored messages are missing, which AcceptLoss accepts: readers are told of a gap", "missing", c.loss.describe())
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
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			s.log.Warn("embedded JetStream client reports", "err", err)
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

func (s *Store) ensureLocalStreams(ctx context.Context, c *check) error {
	for k := range kinds {
		var first uint64
		if k != ackKind && !c.streams[k].exists && c.lastOffset(k) > 0 {
			first = c.lastOffset(k) + 1
		}
		if _, _, err := s.ensureStream(ctx, k, first); err != nil {
			return fmt.Errorf("inbox: stream %s: %w", k.stream(), err)
		}
	}
	return nil
}

// recordLimits adds stricter limits to the account before the server applies them.
func (s *Store) recordLimits(c *check) error {
	was, l := c.tally.limits, s.limits()
	if c.tally.valid <= 0 || !c.tally.limited {
		return nil
	}
	c.tally.add(&entry{what: entryLimits, limits: l})
	if c.tally.limits == was {
		return nil
	}
	a := s.local.account
	if err := a.open(c.tally.valid); err != nil {
		return err
	}
	if err := a.raw(appendLimits(nil, l)); err != nil {
		return err
	}
	size, err := a.sync()
	c.tally.valid = size
	return err
}

// beginEpoch brings the account up to date, and begins an epoch in it.
func (s *Store) beginEpoch(ctx context.Context, c *check) error {
	l := s.local
	var began [2]uint64
	for k := range ackKind {
		st, err := s.state(ctx, k)
		if err != nil {
			return err
		}
		began[k] = max(st.Last, c.lastOffset(k))
		c.tally.first[k] = max(c.tally.first[k], st.First)
	}
	for k := range kinds { // the account says from here on that all of it is on the disk
		if err := syncBlocks(l.dir, k); err != nil {
			return fmt.Errorf("inbox: %w", err)
		}
	}
	epochs := l.nextEpochs(c, began)
	present := epochs[len(epochs)-1]
	limits := s.limits()
	if c.mustReplace(limits) {
		if err := l.account.replace(c, limits, epochs, began); err != nil {
			return fmt.Errorf("inbox: account: %w", err)
		}
	} else {
		if err := l.account.open(c.tally.valid); err != nil {
			return fmt.Errorf("inbox: account: %w", err)
		}
		if err := l.account.raw(appendEpoch(appendLimits(nil, limits), present)); err != nil {
			return fmt.Errorf("inbox: %w", err)
		}
	}
	if _, err := l.account.sync(); err != nil {
		return fmt.Errorf("inbox: account: %w", err)
	}
	if err := l.markUsed(); err != nil && !isDiskFull(err.Error()) {
		return fmt.Errorf("inbox: %w", err)
	}
	os.Remove(witnessFile(l.dir))
	s.snapshotSize, _ = l.account.sizes()
	for k := range ackKind {
		s.history[k].begin(epochs, began[k])
	}
	return s.fillFilter(c)
}

func (s *Store) limits() limits {
	cfg := &s.cfg
	return limits{uint64(cfg.Messages), cfg.Age, uint64(cfg.Disk), cfg.DiskFull == FullDropOldest, cfg.Sync < 0}
}

// mustReplace reports whether the account needs a snapshot: it is new, has changed by
// more than additions, or is much longer than what is alive.
func (c *check) mustReplace(l limits) bool {
	t := c.tally
	return t.valid <= 0 || !t.limited || l != t.limits || !c.loss.nothing() || len(c.adopted) > 0 || len(c.strays) > 0 ||
		len(t.damaged) > 0 || t.valid > 1<<20
}

// fillFilter adds all names that may have messages or positions to the filter.
func (s *Store) fillFilter(c *check) error {
	s.filled.reset(len(c.tally.boxes) + len(c.tally.positions) + len(c.strays) + len(c.stored))
	for h := range c.tally.boxes {
		s.filled.add(h)
	}
	for h := range c.stored {
		s.filled.add(h)
	}
	for _, name := range c.loss.positions {
		s.filled.add(hashName(ackKind, name))
	}
	for b := range c.loss.boxes {
		s.filled.add(hashName(b.kind, b.name()))
	}
	return nil
}

// closeLocal ends an embedded store in order.
func (s *Store) closeLocal() {
	l := s.local
	defer l.release()
	link := s.link.Load()
	if link == nil {
		return
	}
	err := s.markAccount()
	var positions state
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Timeout)
		positions, err = s.state(ctx, ackKind)
		cancel()
	}
	link.nc.Close()
	l.stop()
	if err == nil {
		err = l.writeClosing(positions.Last, s.history[inboxKind].epoch())
	}
	if err != nil && s.sick() == nil {
		s.log.Warn("account not brought up to date", "err", err)
	}
}
