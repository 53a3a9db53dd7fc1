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

// mailbox is what a session needs while stored messages are on their way to it.
// Sessions that never get one have none.
//
// Whoever holds the turn sends. Others leave word and go: want says what there is
// to send, ponged what has arrived, and the turn's word that somebody was here.
//
//	idle ──take──▶ held ──take──▶ again        give: held ──▶ idle
//	                │               └─give──▶ held, and its holder looks once more
//	                └──▶ dead: nobody uses it any more
type mailbox struct {
	// Immutable.
	session *Session
	box     inbox.Box
	resume  uint64 // the client says that it has everything up to here
	resumes bool

	// Atomic.
	turn   atomic.Uint32
	want   atomic.Uint64 // the last offset that is known to be stored
	pinged atomic.Uint64 // the offset in the last ping
	ponged atomic.Uint64 // and in the last pong
	// recheck: something may have been stored that nobody told us.
	recheck atomic.Bool

	// Owned by the turn.
	known   bool     // sent is
	greeted bool     // hello was said
	gap     bool     // something is missing before the next message
	stuck   bool     // the kernel did not take all
	sent    uint64   // everything up to here was sent
	rest    []uint64 // offsets of what is to be sent next
	flight  int      // bytes that were sent and not answered for
	asked   int      // those of them that the open ping is about
	tries   int
}

const (
	idle uint32 = iota
	held
	again
	dead
)

// take takes the turn, or leaves word that somebody wanted it.
func (m *mailbox) take() (ok, gone bool) {
	for {
		switch was := m.turn.Load(); was {
		case idle:
			if m.turn.CompareAndSwap(idle, held) {
				return true, false
			}
		case held:
			if m.turn.CompareAndSwap(held, again) {
				return false, false
			}
		case again:
			return false, false
		case dead:
			return false, true
		}
	}
}

// release gives the turn back. It reports false, and the turn is still held, if
// there is something to look at.
func (m *mailbox) release() bool {
	for {
		switch m.turn.Load() {
		case held:
			if m.turn.CompareAndSwap(held, idle) {
				return true
			}
		case again:
			m.turn.Store(held)
			return false
		case dead:
			return true
		}
	}
}

// expect raises want.
func (m *mailbox) expect(offset uint64) {
	for {
		old := m.want.Load()
		if offset <= old || m.want.CompareAndSwap(old, offset) {
			return
		}
	}
}

// unread are the mailboxes of a server, and those who fill them: a bounded number
// of goroutines, so that a hundred thousand clients who come at once are served
// one after another, and their connections are live meanwhile.
type unread struct {
	// Immutable.
	srv    *Server
	store  *inbox.Store
	window int

	shards [64]mailboxShard

	mu      sync.Mutex
	queue   []*mailbox // turns held; guarded by mu
	later   []*mailbox // those whom the store failed; guarded by mu
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
	m = &mailbox{session: s, box: inbox.User(s.User())}
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
func (u *unread) expected(s *Session, resume uint64, resumes bool) *mailbox {
	m, _ := u.obtain(s)
	m.resume, m.resumes = resume, resumes
	return m
}

// gone is called when a session has ended.
func (u *unread) gone(s *Session) {
	if m := u.find(s); m != nil {
		u.remove(m)
	}
}

// stored brings a message that was just stored to the connections of its user,
// and returns how many those are. A nil frame, or a link that does not fit, sends
// them to the store.
func (u *unread) stored(user string, offset, prev uint64, p *frame.Prepared) (n int) {
	l := lists.Get().(*[]*Session)
	defer putList(l)
	*l = u.srv.users.AppendUser(*l, user)
	for _, s := range *l {
		if s.phase() == open {
			n++
			u.notify(s, offset, prev, p)
		}
	}
	return n
}

func (u *unread) notify(s *Session, offset, prev uint64, p *frame.Prepared) {
	for {
		m, made := u.obtain(s)
		m.expect(offset)
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
		case m.known && offset <= m.sent:
			u.give(m)
		case p != nil && m.known && len(m.rest) == 0 && prev <= m.sent && m.room(u):
			m.send(p, offset)
			m.ping()
			u.give(m)
		default:
			u.submit(m)
		}
		return
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

// retry is the goroutine that lets those try again whom the store failed.
func (u *unread) retry() {
	ticker := time.NewTicker(unreadRetry)
	defer ticker.Stop()
	for {
		select {
		case <-u.srv.quit.Done():
			return
		case <-ticker.C:
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
