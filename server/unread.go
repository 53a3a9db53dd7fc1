package server

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"fanfare/frame"
	"fanfare/netpoll"
	"fanfare/server/inbox"
)

// unread are the mailboxes of a server, and those who fill them: a bounded number
// of goroutines, so that a hundred thousand clients who come at once are served
// one after another, and their connections are live meanwhile.
type unread struct {
	// Immutable.
	srv    *Server
	store  *inbox.Store
	window int

	shards [64]mailboxShard

	looking atomic.Bool // lookAgain is to begin

	mu      sync.Mutex
	queue   []*mailbox // turns held; guarded by mu
	later   []*mailbox // those whom the store failed; guarded by mu
	holding []*mailbox // those that hold messages for now; guarded by mu
	workers int        // guarded by mu
}

type mailboxShard struct {
	mu    sync.Mutex
	boxes map[*Session]*mailbox
}

const (
	// unreadWorkers wait for the store most of the time.
	unreadWorkers = 32
	// unreadRetry is how long a store that failed is left alone.
	unreadRetry = 500 * time.Millisecond
)

func newUnread(srv *Server, store *inbox.Store) *unread {
	u := &unread{srv: srv, store: store, window: cmp.Or(srv.cfg.QueueBytes, 64<<10) / 2}
	for i := range u.shards {
		u.shards[i].boxes = make(map[*Session]*mailbox)
	}
	return u
}

func (u *unread) shard(s *Session) *mailboxShard { return &u.shards[s.ID()%uint64(len(u.shards))] }

// find returns the mailbox of a session, nil if it has none.
func (u *unread) find(s *Session) *mailbox {
	sh := u.shard(s)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.boxes[s]
}

// obtain is find that makes a mailbox, whose turn the caller then holds.
func (u *unread) obtain(s *Session) (m *mailbox, made bool) {
	sh := u.shard(s)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if m := sh.boxes[s]; m != nil {
		return m, false
	}
	m = &mailbox{session: s, tracks: []*track{{box: inbox.User(s.User())}}}
	m.turn.Store(held)
	// gone enters the last phase before it looks here.
	if s.phase() != over {
		sh.boxes[s] = m
	}
	return m, true
}

func (u *unread) remove(m *mailbox) {
	sh := u.shard(m.session)
	sh.mu.Lock()
	if sh.boxes[m.session] == m {
		delete(sh.boxes, m.session)
	}
	sh.mu.Unlock()
}

// expected makes the mailbox of a session that has a user and is about to open,
// before any push finds it. It is for submit when it is open.
func (u *unread) expected(s *Session, a *admission) *mailbox {
	m, _ := u.obtain(s)
	m.tracks[0].resume, m.tracks[0].resumes = a.resume("")
	for _, topic := range a.id.Topics {
		if u.srv.keeps(topic) {
			offset, resumes := a.resume(topic)
			m.add(topic, offset, resumes)
		}
	}
	m.hold.on = true
	s.state.Or(holdBit)
	return m
}

// gone is called when a session has ended.
func (u *unread) gone(s *Session) {
	if m := u.find(s); m != nil {
		u.remove(m)
	}
}

// follow begins to bring a durable topic to a session. It reports false if that
// was so already.
func (u *unread) follow(s *Session, topic string, resume uint64, resumes bool) bool {
	for {
		m, made := u.obtain(s)
		added := m.add(topic, resume, resumes)
		if made {
			u.submit(m)
			return added
		}
		if !added {
			return false
		}
		ok, gone := m.take()
		if gone {
			u.remove(m)
			continue
		}
		if ok {
			u.submit(m)
		}
		return true
	}
}

func (u *unread) unfollow(s *Session, topic string) {
	if m := u.find(s); m != nil {
		m.drop(topic)
	}
}

// stored brings a message that was just stored to the connections of its user, or
// if that is empty to the followers of its topic, and returns how many those are.
// A nil frame, or a link that does not fit, sends them to the store.
func (u *unread) stored(user, topic string, offset, prev uint64, p *frame.Prepared) int {
	l := lists.Get().(*[]*Session)
	defer putList(l)
	if user != "" {
		*l, topic = u.srv.users.AppendUser(*l, user), ""
	} else {
		*l = u.srv.users.AppendTopic(*l, topic)
	}
	all := *l
	return spread((len(all)+portion-1)/portion, len(all), func(i int) (n int) {
		for _, s := range all[i*portion : min((i+1)*portion, len(all))] {
			if s.phase() == open {
				n++
				u.notify(s, topic, offset, prev, p)
			}
		}
		return n
	})
}

func (u *unread) notify(s *Session, topic string, offset, prev uint64, p *frame.Prepared) {
	for {
		m, made := u.find(s), false
		if topic == "" {
			m, made = u.obtain(s)
		}
		if m == nil {
			return
		}
		t := m.track(topic)
		if t == nil {
			return // it follows no longer, or will look into the store before it does
		}
		t.expect(offset)
		if made {
			u.submit(m)
			return
		}
		ok, gone := m.take()
		if gone {
			u.remove(m)
			continue
		}
		if !ok {
			return // the holder of the turn looks again
		}
		m.settle()
		switch {
		case t.known && offset <= t.sent:
			u.give(m)
		case p != nil && t.known && len(t.rest) == 0 && prev <= t.sent && m.room(u):
			m.greet(t)
			m.send(t, p, offset)
			m.ping()
			u.give(m)
		default:
			u.submit(m)
		}
		return
	}
}

// missed has lookAgain called, once for all that happens before it begins.
func (u *unread) missed() {
	if u.srv.quit.Err() == nil && u.looking.CompareAndSwap(false, true) {
		u.srv.background.Go(func() {
			u.looking.Store(false)
			u.lookAgain()
		})
	}
}

// lookAgain looks into the inboxes of all who are here, after a time in which other
// nodes could not tell what they stored.
func (u *unread) lookAgain() {
	var all []*Session
	u.srv.engine.Each(func(h netpoll.Handler) {
		if h, ok := h.(handler); ok && h.s.listed() {
			all = append(all, h.s)
		}
	})
	for _, s := range all {
		m, made := u.obtain(s)
		if !made {
			m.recheck.Store(true)
			if ok, _ := m.take(); !ok {
				continue
			}
		}
		u.submit(m)
	}
}

// give gives the turn back, or lets a worker look once more.
func (u *unread) give(m *mailbox) {
	if !m.release() {
		u.submit(m)
	}
}

// submit hands a mailbox, with its turn, to the workers.
func (u *unread) submit(m *mailbox) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.queue = append(u.queue, m)
	if u.workers < unreadWorkers && u.srv.quit.Err() == nil {
		u.workers++
		u.srv.background.Go(u.work)
	}
}

// work is a worker. It ends when there is nothing to do.
func (u *unread) work() {
	for {
		u.mu.Lock()
		if len(u.queue) == 0 || u.srv.quit.Err() != nil {
			u.queue = nil // an array that a storm has made large goes
			u.workers--
			u.mu.Unlock()
			return
		}
		m := u.queue[0]
		u.queue[0] = nil
		u.queue = u.queue[1:]
		u.mu.Unlock()
		u.serve(u.srv.quit, m)
	}
}

func (u *unread) serve(ctx context.Context, m *mailbox) {
	for {
		if m.session.phase() != open {
			m.turn.Store(dead)
			u.remove(m)
			return
		}
		if err := m.advance(ctx, u); err != nil {
			m.letGo() // what is for now does not wait for the store
			u.mu.Lock()
			u.later = append(u.later, m)
			u.mu.Unlock()
			return
		}
		if m.release() {
			return
		}
	}
}

// retry is the goroutine that lets those try again whom the store failed, and looks
// after what grows old.
func (u *unread) retry() {
	ticker := time.NewTicker(unreadRetry)
	defer ticker.Stop()
	renew := time.NewTicker(u.store.RenewEvery())
	defer renew.Stop()
	for {
		select {
		case <-u.srv.quit.Done():
			return
		case <-renew.C:
			u.renew()
			continue
		case now := <-ticker.C:
			u.letGoOld(now)
		}
		u.mu.Lock()
		late := u.later
		u.later = nil
		u.mu.Unlock()
		for _, m := range late {
			u.submit(m)
		}
	}
}

// renew stores once more how far the followers of durable topics are. Otherwise
// the place of one who hears nothing for long would be forgotten.
func (u *unread) renew() {
	for i := range u.shards {
		sh := &u.shards[i]
		sh.mu.Lock()
		var some []*mailbox
		for _, m := range sh.boxes {
			some = append(some, m)
		}
		sh.mu.Unlock()
		for _, m := range some {
			for _, t := range m.all() {
				if place := t.place.Load(); place > 0 && t.topic != "" {
					u.store.Renew(t.box, m.session.User(), place)
				}
			}
		}
	}
}

// waiting is how many mailboxes wait for a worker or for the store.
func (u *unread) waiting() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.queue) + len(u.later)
}

// mailboxes is how many there are.
func (u *unread) mailboxes() (n int) {
	for i := range u.shards {
		sh := &u.shards[i]
		sh.mu.Lock()
		n += len(sh.boxes)
		sh.mu.Unlock()
	}
	return n
}
