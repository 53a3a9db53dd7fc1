package registry

import (
	"errors"
	"hash/maphash"
	"strings"
	"sync"
)

var (
	// ErrTooManySessions means that the user has Limits.SessionsPerUser sessions already.
	ErrTooManySessions = errors.New("registry: too many sessions of this user")
	// ErrTooManyTopics means that the session follows Limits.TopicsPerSession topics already.
	ErrTooManyTopics = errors.New("registry: too many topics of this session")
	// ErrGone means that the session is not here: it has left, or never joined.
	ErrGone = errors.New("registry: session is gone")
)

// Limits bounds what one peer can take. Zero, as anything below, means the default.
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

// userShards is a trade: of a million users each shard has 4,000, so the longest holds of a lock (a
// resize, a portion of a broadcast) are some ten microseconds, and all shards together are 16 KiB.
const userShards = 256

// Registry knows the sessions of each user and of each topic. New makes one.
type Registry[S comparable] struct {
	// Immutable.
	entry     func(S) *Entry[S]
	limits    Limits
	seed      maphash.Seed // random, so that no peer can choose names that collide
	userName  func(S) string
	topicName func(*topic[S]) string
	gone      membership[S] // its address is the topics of a session that has left

	users  [userShards]userShard[S]
	topics [topicShards]topicShard[S]
}

type userShard[S any] struct {
	mu       sync.Mutex
	users    table[S] // the first session of each user; if marked more, others follow through Entry.next
	sessions int32    // all of them

	_ [20]byte // one cache line, so that neighbours do not disturb each other
}

// New returns an empty registry.
//
// entry returns the address of the Entry in a session and does nothing else: the registry calls it with a
// lock held.
func New[S comparable](entry func(S) *Entry[S], limits Limits) *Registry[S] {
	return &Registry[S]{
		entry:     entry,
		limits:    limits.withDefaults(),
		seed:      maphash.MakeSeed(),
		userName:  func(s S) string { return entry(s).user },
		topicName: func(t *topic[S]) string { return t.name },
	}
}

func (r *Registry[S]) shardOf(user string) (sh *userShard[S], hash uint64) {
	hash = maphash.String(r.seed, user)
	return &r.users[hash>>56], hash
}

// Join registers s as a session of user. It may be called once in the life of a session, more often
// only if it failed. Errors: ErrTooManySessions, or what CheckName says.
func (r *Registry[S]) Join(user string, s S) error {
	e := r.entry(s)
	if e.user != "" {
		panic("BUG: registry: session joins twice")
	}
	if err := CheckName(user); err != nil {
		return err
	}
	sh, hash := r.shardOf(user)
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
	if n >= r.limits.SessionsPerUser {
		return ErrTooManySessions
	}
	e.user, e.next = first.user, first.next
	first.next = s
	*mark |= more
	sh.sessions++
	return nil
}

// Leave takes s from its user and from all its topics. It returns false if s was not here, so of
// several calls exactly one returns true.
func (r *Registry[S]) Leave(s S) bool {
	e := r.entry(s)
	if e.user == "" {
		return false
	}
	sh, hash := r.shardOf(e.user)
	sh.mu.Lock()
	followed := e.topics
	if followed == &r.gone {
		sh.mu.Unlock()
		return false
	}
	e.topics = &r.gone
	r.unchainLocked(sh, hash, s)
	sh.mu.Unlock()

	// The list is ours alone now: others find that the session is gone and leave it untouched.
	for m := followed; m != nil; {
		next := m.next
		m.next = nil
		r.detach(m)
		m = next
	}
	return true
}

// unchainLocked takes s out of the chain of its user's sessions.
func (r *Registry[S]) unchainLocked(sh *userShard[S], hash uint64, s S) {
	var none S
	e := r.entry(s)
	sh.sessions--
	slot := sh.users.find(r.userName, hash, e.user)
	mark, first := sh.users.at(slot)
	if *first == s && e.next == none {
		sh.users.remove(slot)
		return
	}
	at := first
	for *at != s {
		at = &r.entry(*at).next
	}
	*at, e.next = e.next, none
	if r.entry(*first).next == none {
		*mark &^= more
	}
}

// AppendUser appends the sessions of user to dst, in no particular order.
func (r *Registry[S]) AppendUser(dst []S, user string) []S {
	sh, hash := r.shardOf(user)
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

// Sessions returns how many sessions are here, Users how many users have one. Both look at every shard
// in turn, which takes a few microseconds; while sessions come and go the sum is approximate.
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

// Users returns how many users have a session: see Sessions.
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
