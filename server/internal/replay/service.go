package replay

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// Service delivers the stored messages of a server. All methods may be called from
// any goroutine; none blocks on the store.
//
// Locks: session.mu -> shard.mu, Service.mu, failures.mu, quota.mu, and whatever the
// Receiver, the Store (in Epoch and Ack) and the Logger lock. Those on the right are leaves,
// except that obtain holds shard.mu while it calls the Receiver's User, Phase, AckMode, Pings
// and Since, which must not acquire a lock that is held when session.mu is acquired.
type Service struct {
	cfg    Config
	ctx    context.Context
	cancel context.CancelFunc
	shards [64]shard

	serial         atomic.Uint64 // of pings, unique so that a late pong never matches another ping
	checking       atomic.Bool   // a Recheck is to begin
	unstoredLogged atomic.Int64  // Unix time of the last log of it, in nanoseconds
	failures       failures
	quota          quota
	deletions      deletions
	counters       counters
	renewTime      time.Time // of the next renewal; owned by tick

	background sync.WaitGroup

	mu      sync.Mutex
	started bool       // guarded by mu, as all below
	queue   []*session // in state queued, and some that were closed since
	workers int
	waiting []pause    // in state waiting, and some that were closed since
	holders []*session // sessions that hold live messages
	looks   []look     // second looks, by time
}

type shard struct {
	// Guarded by mu.
	mu       sync.Mutex
	sessions map[uint64]*session
	// left has, by receiver, where sessions ended that needed no state any longer. A
	// session whose inbox was empty leaves nothing.
	left map[uint64]left
}

// left is where the next session of a receiver goes on: meanwhile another session of the
// user may acknowledge messages that the receiver has not got.
type left struct {
	epoch  string
	offset uint64
	from   uint64 // where the first session began
}

type pause struct {
	session *session
	until   time.Time
}

// look is a question to the store that is due some time after the first one.
type look struct {
	receiver Receiver
	topic    string
	due      time.Time
}

// New returns a Service, and sets Store.OnRecover.
func New(cfg Config) *Service {
	cfg.setDefaults()
	v := &Service{cfg: cfg}
	v.deletions.seed = maphash.MakeSeed()
	v.ctx, v.cancel = context.WithCancel(context.Background())
	for i := range v.shards {
		v.shards[i].sessions = make(map[uint64]*session)
	}
	v.quota.perUser, v.quota.perAddress = uint32(cfg.PositionsPerUser), uint32(cfg.PositionsPerAddress)
	v.quota.period = 4 * cfg.Store.RenewInterval()
	v.renewTime = cfg.Now().Add(cfg.Store.RenewInterval())
	cfg.Store.OnRecover(v.Recheck)
	return v
}

// Start starts the goroutines.
func (v *Service) Start() {
	v.mu.Lock()
	v.started = true
	for v.workers < min(v.cfg.Workers, len(v.queue)) {
		v.workers++
		v.background.Go(v.work)
	}
	v.mu.Unlock()
	v.spawn(v.watch)
}

// Stop ends the goroutines and returns when they have ended. Positions that were
// given to the store are the store's to write.
func (v *Service) Stop() {
	v.mu.Lock()
	v.started = false
	v.mu.Unlock()
	v.cancel()
	v.background.Wait()
}

// spawn starts f unless the service is stopped.
func (v *Service) spawn(f func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.started {
		v.background.Go(f)
	}
}

func (v *Service) shard(id uint64) *shard { return &v.shards[id%uint64(len(v.shards))] }

// find returns the session of a receiver, nil if it has none.
func (v *Service) find(r Receiver) *session {
	id := r.ID()
	sh := v.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.sessions[id]
}

// obtain is find, but creates the session if there is none. It returns nil if the
// receiver has ended: Phase is asked under the lock that Detach takes later.
func (v *Service) obtain(r Receiver, second bool) *session {
	id := r.ID()
	sh := v.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if s := sh.sessions[id]; s != nil {
		return s
	}
	phase := r.Phase()
	if phase == Ended {
		return nil
	}
	s := &session{svc: v, receiver: r, user: r.User(), acks: r.AckMode(), pings: r.Pings(), second: second}
	s.inbox.box.User = s.user
	s.inbox.pinned = true
	if phase == Open {
		s.state = idle
		s.inbox.since = r.Since()
	}
	if at, ok := sh.left[id]; ok {
		delete(sh.left, id)
		s.inbox.start = Start{Resume: true, Epoch: at.epoch, Offset: at.offset}
		s.inbox.bound, s.inbox.from = inherited, at.from
	}
	sh.sessions[id] = s
	v.counters.sessions.Add(1)
	return s
}

// remove forgets a session. at, unless it is zero, is where the next session of its
// receiver begins.
func (v *Service) remove(s *session, at left) {
	id := s.receiver.ID()
	sh := v.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.sessions[id] != s {
		return
	}
	delete(sh.sessions, id)
	v.counters.sessions.Add(-1)
	if at != (left{}) && s.receiver.Phase() == Open { // else Detach has been called, or follows
		if sh.left == nil {
			sh.left = make(map[uint64]left)
		}
		sh.left[id] = at
	}
}

// forget drops the positions that the last session of a receiver has left.
func (v *Service) forget(r Receiver) {
	id := r.ID()
	sh := v.shard(id)
	sh.mu.Lock()
	delete(sh.left, id)
	sh.mu.Unlock()
}

// use calls f with the session of a receiver, with its lock held, and reports whether it
// did. If there is no session, use creates one if create is set. A session that was
// closed between find and Lock is out of the map already, so that the second try finds
// another one.
func (v *Service) use(r Receiver, create bool, f func(*session)) bool {
	for {
		var s *session
		if create {
			s = v.obtain(r, false)
		} else {
			s = v.find(r)
		}
		if s == nil {
			return false
		}
		if s.locked(f) {
			return true
		}
	}
}

// locked calls f unless the session is closed.
func (s *session) locked(f func(*session)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == closed {
		return false
	}
	f(s)
	return true
}

// Attach prepares for a receiver that is about to open. It is called before the
// session can be found by a push, so that no notice is missed; from then on live
// messages are to be offered to Hold. Detach must follow when the session has
// ended, or did not open.
func (v *Service) Attach(r Receiver, inbox Start, topics []Subscription) {
	v.use(r, true, func(s *session) {
		s.holding = true
		s.inbox.start, s.inbox.since = inbox.clone(), v.cfg.Now()
		for _, sub := range topics {
			if st, added := s.add(sub); !added && !st.start.Resume && st.start.Rewind == 0 {
				st.start = sub.Start.clone() // a subscribe came first
			}
		}
	})
}

// Open is called when the receiver is Open, after Attach or AttachEmpty. Nothing is written to
// it before.
func (v *Service) Open(r Receiver) {
	attached := v.use(r, false, func(s *session) {
		if s.state == opening && s.move(evOpen) {
			v.enqueue(s)
		}
	})
	if !attached {
		v.openEmpty(r)
	}
}

// Detach is called when the receiver is Ended for good. code is the close code that
// the client sent, 0 if it sent none.
func (v *Service) Detach(r Receiver, code int) {
	v.use(r, false, func(s *session) {
		if code == codeTooBig {
			s.blame()
		}
		s.end()
	})
	v.forget(r)
}

// ErrEnded is returned by Subscribe for a session that has ended.
var ErrEnded = errors.New("replay: session has ended")

// Subscribe begins to deliver a durable topic. join makes the receiver a subscriber
// of live messages; it is called with the lock of the session held, so that both
// memberships change together, and must not block. If it fails nothing has changed.
// added is false if the topic was subscribed already; otherwise Receiver.Begin
// follows.
func (v *Service) Subscribe(r Receiver, sub Subscription, join func() error) (added bool, err error) {
	err = ErrEnded
	v.use(r, true, func(s *session) {
		if err = join(); err == nil {
			if _, added = s.add(sub); added {
				s.wake()
			}
		}
		s.dismiss()
	})
	return added, err
}

// Unsubscribe ends the delivery of a durable topic. leave is the reverse of join, is
// called in any case, and may write a confirmation: no stored message of the topic is
// written after it.
// The position of the user in the topic stays.
func (v *Service) Unsubscribe(r Receiver, topic string, leave func()) (removed bool) {
	// The session is created if there is none, so that a Subscribe at the same time
	// comes before or after both changes.
	used := v.use(r, true, func(s *session) {
		for i, st := range s.topics {
			if st.box.Topic == topic {
				st.ended, removed = true, true
				// A new slice: a worker may walk the old one.
				s.topics = append(s.topics[:i:i], s.topics[i+1:]...)
				break
			}
		}
		leave()
		s.dismiss()
	})
	if !used {
		leave()
	}
	return removed
}

// dismiss removes a session that was created for one call. The caller holds mu.
func (s *session) dismiss() {
	if s.state == idle && !s.inbox.placed && len(s.topics) == 0 && s.disposable() {
		s.dispose()
	}
}
