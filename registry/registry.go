package registry

import (
	"errors"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"
)

var (
	// ErrTooManySessions means that the user already has Limits.SessionsPerUser sessions.
	ErrTooManySessions = errors.New("registry: user has too many sessions")
	// ErrTooManyTopics means that the session is already subscribed to Limits.TopicsPerSession topics.
	ErrTooManyTopics = errors.New("registry: session is subscribed to too many topics")
	// ErrNotJoined means that the session has left, or has never joined.
	ErrNotJoined = errors.New("registry: session has left or has not joined")
)

// Limits bounds what one client can take. A value of zero or less means the default.
type Limits struct {
	SessionsPerUser  int // default 16
	TopicsPerSession int // default 100
}

func (l Limits) withDefaults() Limits {
	if l.SessionsPerUser <= 0 {
		l.SessionsPerUser = 16
	}
	if l.TopicsPerSession <= 0 {
		l.TopicsPerSession = 100
	}
	return l
}

// userShards is a compromise: with a million users a shard has 4,000, so the longest time that its lock is
// held, for a resize of its table, is some ten microseconds; and all shards together are 16 KiB.
const userShards = 256

// cacheLine is the size to which shards are padded, so that their locks do not share a cache line.
const cacheLine = 64

// Registry keeps the sessions of each user and the subscribers of each topic. Use New to create one.
type Registry[S comparable] struct {
	// Immutable.
	entry     func(S) *Entry[S]
	seed      maphash.Seed // random, so that a client cannot choose names that collide
	userName  func(S) string
	topicName func(*topic[S]) string
	left      membership[S] // Entry.topics of a session that has left is the address of this

	limits atomic.Pointer[Limits] // what it points at is immutable

	users  [userShards]userShard[S]
	topics [topicShards]topicShard[S]
}

type userShard[S any] struct {
	// Guarded by mu.
	mu       sync.Mutex
	users    table[S] // the first session of each user; with the mark chained others follow through Entry.next
	sessions int32    // in all of the shard's chains

	_ [cacheLine - 8 - unsafe.Sizeof(table[*byte]{}) - 4]byte
}

// New returns an empty registry.
//
// entry returns the address of the Entry in a session and does nothing else: the registry calls it while
// it holds a lock.
func New[S comparable](entry func(S) *Entry[S], limits Limits) *Registry[S] {
	r := &Registry[S]{
		entry:     entry,
		seed:      maphash.MakeSeed(),
		userName:  func(s S) string { return entry(s).user },
		topicName: func(t *topic[S]) string { return t.name },
	}
	r.SetLimits(limits)
	return r
}

// SetLimits changes the limits, from the next Join and Subscribe on. Sessions and subscriptions beyond them
// stay.
func (r *Registry[S]) SetLimits(limits Limits) {
	limits = limits.withDefaults()
	r.limits.Store(&limits)
}

func (r *Registry[S]) userShardOf(user string) (sh *userShard[S], hash uint64) {
	hash = maphash.String(r.seed, user)
	return &r.users[hash>>56], hash
}

// Join adds s to the sessions of user. It succeeds at most once for a session; after an error it may be
// called again. The error is ErrTooManySessions, or wraps ErrName.
func (r *Registry[S]) Join(user string, s S) error {
	e := r.entry(s)
	if e.user != "" {
		panic("BUG: registry: session joins twice")
	}
	if err := CheckName(user); err != nil {
		return err
	}
	sh, hash := r.userShardOf(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	slot := sh.users.find(r.userName, hash, user)
	if slot < 0 {
		e.user = strings.Clone(user)
		sh.users.insert(hash, s)
		sh.sessions++
		return nil
	}
	mark, chain := sh.users.at(slot)
	first := r.entry(*chain)
	var none S
	n := 1
	for next := first.next; next != none; next = r.entry(next).next {
		n++
	}
	if n >= r.limits.Load().SessionsPerUser {
		return ErrTooManySessions
	}
	e.user, e.next = first.user, first.next
	first.next = s
	*mark |= chained
	sh.sessions++
	return nil
}

// Leave removes s from its user and from all topics. It returns false if s has left before, or has never
// joined, so exactly one of several concurrent calls returns true.
func (r *Registry[S]) Leave(s S) bool { return r.leave(s, nil) }

// LeaveTopics is Leave that also returns the topics to which s was subscribed, in no particular order.
func (r *Registry[S]) LeaveTopics(s S) (topics []string, left bool) {
	left = r.leave(s, &topics)
	return topics, left
}

// leave is Leave that appends the topics unless topics is nil.
func (r *Registry[S]) leave(s S, topics *[]string) bool {
	e := r.entry(s)
	if e.user == "" {
		return false
	}
	sh, hash := r.userShardOf(e.user)
	sh.mu.Lock()
	memberships := e.topics
	if memberships == &r.left {
		sh.mu.Unlock()
		return false
	}
	e.topics = &r.left
	r.removeSessionLocked(sh, hash, s)
	sh.mu.Unlock()

	// From here on other calls see that the session has left, and do not touch its list.
	for m := memberships; m != nil; {
		next := m.next
		m.next = nil
		if topics != nil {
			*topics = append(*topics, m.topic.name)
		}
		r.detach(m)
		m = next
	}
	return true
}

// removeSessionLocked removes s from the chain of its user's sessions, and the user with its last session.
func (r *Registry[S]) removeSessionLocked(sh *userShard[S], hash uint64, s S) {
	var none S
	e := r.entry(s)
	sh.sessions--
	slot := sh.users.find(r.userName, hash, e.user)
	mark, first := sh.users.at(slot)
	if *first == s && e.next == none {
		sh.users.remove(slot)
		return
	}
	link := first
	for *link != s {
		link = &r.entry(*link).next
	}
	*link, e.next = e.next, none
	if r.entry(*first).next == none {
		*mark &^= chained
	}
}

// AppendUser appends the sessions of user to dst, in no particular order.
func (r *Registry[S]) AppendUser(dst []S, user string) []S {
	sh, hash := r.userShardOf(user)
	sh.mu.Lock()
	if slot := sh.users.find(r.userName, hash, user); slot >= 0 {
		_, first := sh.users.at(slot)
		var none S
		for s := *first; s != none; s = r.entry(s).next {
			dst = append(dst, s)
		}
	}
	sh.mu.Unlock()
	return dst
}

// UserSessions returns the number of sessions of user.
func (r *Registry[S]) UserSessions(user string) (n int) {
	sh, hash := r.userShardOf(user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if slot := sh.users.find(r.userName, hash, user); slot >= 0 {
		_, first := sh.users.at(slot)
		var none S
		for s := *first; s != none; s = r.entry(s).next {
			n++
		}
	}
	return n
}

// Sessions returns the number of sessions that have joined and not left. It visits every shard, which
// takes a few microseconds; while sessions join and leave the sum is approximate.
func (r *Registry[S]) Sessions() int {
	n := 0
	for i := range r.users {
		sh := &r.users[i]
		sh.mu.Lock()
		n += int(sh.sessions)
		sh.mu.Unlock()
	}
	return n
}

// Users returns the number of users with at least one session. It visits every shard, like Sessions.
func (r *Registry[S]) Users() int {
	n := 0
	for i := range r.users {
		sh := &r.users[i]
		sh.mu.Lock()
		n += sh.users.len()
		sh.mu.Unlock()
	}
	return n
}
