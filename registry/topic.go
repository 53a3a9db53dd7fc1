package registry

import (
	"hash/maphash"
	"strings"
	"sync"
)

// topicShards: topics are fewer than users, and a lock is held for as long as a copy of the members
// takes. 64 shards are 4 KiB.
const topicShards = 64

type topicShard[S any] struct {
	mu     sync.Mutex
	topics table[*topic[S]]

	_ [24]byte // one cache line
}

// topic is one topic's members. It is in the table of its shard exactly while refs is not 0.
type topic[S any] struct {
	// Immutable.
	name string
	hash uint64

	// Guarded by the lock of the topic's shard.
	members []member[S] // unordered
	refs    int32       // memberships, attached or about to be, and calls of Subscribe under way
}

// member holds the session beside its membership, so that a copy of the sessions follows no pointer.
type member[S any] struct {
	session    S
	membership *membership[S]
}

// membership ties one session to one topic. It is on the session's list and, through the topic's
// members, in the topic. The two belong to different locks, and no two locks are ever held together.
// What keeps both sides true is an order:
//
//	             Subscribe, user's lock         topic's lock            topic's lock
//	(nothing) ──────────────────────▶ pending ──────────────▶ attached ─────────────▶ detached
//	                                     └──────────────────────────────────────────────▲
//
// A membership is put on the session's list first, if the session is here and the list has none for
// this topic, and only then attached. Whoever ends it detaches it first and takes it off the list
// after that. It follows:
//
//   - Nothing dangles. Leave marks the session gone and takes its list in one hold of the lock, so it
//     finds every membership that was ever begun and detaches it; no other can begin after that. One
//     that was still pending is detached too, and the Subscribe that wanted to attach it, coming late,
//     finds that out under the topic's lock. When Leave has returned, the session is in no topic.
//   - Nothing doubles. A second membership for the topic can be on the list only after the first was
//     taken off, hence was detached: a session is at most once among the members.
//   - Nobody waits for another call to go on. A Subscribe that finds a pending membership attaches it
//     itself; one that finds a detached one takes it off the list and begins again.
//
// A topic is named by address: it stays in its table while a membership that is not detached, or a call
// of Subscribe, refers to it, so for all of these one name is one address.
type membership[S any] struct {
	topic *topic[S]      // immutable
	next  *membership[S] // the session's next one; guarded by the lock of the user's shard
	index int32          // in topic.members, or one of the states below; guarded by the topic's lock
}

const (
	pending  = -1
	detached = -2
)

func (r *Registry[S]) topicShardOf(hash uint64) *topicShard[S] {
	return &r.topics[hash>>56%topicShards]
}

// Subscribe makes s a member of topic. It returns false without an error if s was one already. Errors:
// ErrGone, ErrTooManyTopics, or what CheckName says.
func (r *Registry[S]) Subscribe(s S, topic string) (added bool, err error) {
	if err := CheckName(topic); err != nil {
		return false, err
	}
	if s.Entry().user == "" {
		return false, ErrGone
	}
	for {
		t := r.acquire(topic)
		m, added, err := r.enlist(s, t)
		if !added {
			r.release(t)
		}
		if err != nil {
			return false, err
		}
		if r.attach(s, m) {
			return added, nil
		}
		r.delist(s, m)
	}
}

// Unsubscribe ends the membership of s in topic. It returns false if there was none.
func (r *Registry[S]) Unsubscribe(s S, topic string) bool {
	m := r.membershipOf(s, topic)
	if m == nil {
		return false
	}
	ended := r.detach(m)
	r.delist(s, m)
	return ended
}

// AppendTopic appends the sessions that are members of topic to dst, in no particular order.
func (r *Registry[S]) AppendTopic(dst []S, topic string) []S {
	hash := maphash.String(r.seed, topic)
	sh := r.topicShardOf(hash)
	sh.mu.Lock()
	if slot := sh.topics.find(r.topicName, hash, topic); slot >= 0 {
		_, t := sh.topics.at(slot)
		for _, m := range (*t).members {
			dst = append(dst, m.session)
		}
	}
	sh.mu.Unlock()
	return dst
}

// AppendTopics appends the topics of s to dst, in no particular order.
func (r *Registry[S]) AppendTopics(dst []string, s S) []string {
	e := s.Entry()
	if e.user == "" {
		return dst
	}
	sh, _ := r.shardOf(e.user)
	sh.mu.Lock()
	if e.topics != &r.gone {
		for m := e.topics; m != nil; m = m.next {
			dst = append(dst, m.topic.name)
		}
	}
	sh.mu.Unlock()
	return dst
}

// Topics returns how many topics have a member: see Sessions.
func (r *Registry[S]) Topics() int {
	n := 0
	for i := range r.topics {
		sh := &r.topics[i]
		sh.mu.Lock()
		n += sh.topics.len()
		sh.mu.Unlock()
	}
	return n
}

// TopicSessions returns how many members topic has.
func (r *Registry[S]) TopicSessions(topic string) int {
	hash := maphash.String(r.seed, topic)
	sh := r.topicShardOf(hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if slot := sh.topics.find(r.topicName, hash, topic); slot >= 0 {
		_, t := sh.topics.at(slot)
		return len((*t).members)
	}
	return 0
}

// acquire finds or makes the topic called name, and holds it until release.
func (r *Registry[S]) acquire(name string) *topic[S] {
	hash := maphash.String(r.seed, name)
	sh := r.topicShardOf(hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if slot := sh.topics.find(r.topicName, hash, name); slot >= 0 {
		_, t := sh.topics.at(slot)
		(*t).refs++
		return *t
	}
	t := &topic[S]{name: strings.Clone(name), hash: hash, refs: 1}
	sh.topics.insert(hash, t)
	return t
}

func (r *Registry[S]) release(t *topic[S]) {
	sh := r.topicShardOf(t.hash)
	sh.mu.Lock()
	r.releaseLocked(sh, t)
	sh.mu.Unlock()
}

func (r *Registry[S]) releaseLocked(sh *topicShard[S], t *topic[S]) {
	if t.refs--; t.refs == 0 {
		sh.topics.remove(sh.topics.find(r.topicName, t.hash, t.name))
	}
}

// enlist puts a pending membership in t on the list of s, or returns the one that is there. A new one
// takes over the caller's hold on t.
func (r *Registry[S]) enlist(s S, t *topic[S]) (m *membership[S], added bool, err error) {
	e := s.Entry()
	sh, _ := r.shardOf(e.user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if e.topics == &r.gone {
		return nil, false, ErrGone
	}
	n := 0
	for m := e.topics; m != nil; m = m.next {
		if m.topic == t {
			return m, false, nil
		}
		n++
	}
	if n >= r.limits.TopicsPerSession {
		return nil, false, ErrTooManyTopics
	}
	e.topics = &membership[S]{topic: t, next: e.topics, index: pending}
	return e.topics, true, nil
}

// membershipOf returns what the list of s has for topic, or nil.
func (r *Registry[S]) membershipOf(s S, topic string) *membership[S] {
	e := s.Entry()
	if e.user == "" {
		return nil
	}
	sh, _ := r.shardOf(e.user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if e.topics == &r.gone {
		return nil
	}
	for m := e.topics; m != nil; m = m.next {
		if m.topic.name == topic {
			return m
		}
	}
	return nil
}

// delist takes m, which is detached, off the list of s, unless another call was faster.
func (r *Registry[S]) delist(s S, m *membership[S]) {
	e := s.Entry()
	sh, _ := r.shardOf(e.user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if e.topics == &r.gone {
		return
	}
	for at := &e.topics; *at != nil; at = &(*at).next {
		if *at == m {
			*at, m.next = m.next, nil
			return
		}
	}
}

// attach adds s to the members of the topic if m is pending. It returns false if m was detached.
func (r *Registry[S]) attach(s S, m *membership[S]) bool {
	sh := r.topicShardOf(m.topic.hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if m.index == pending {
		m.index = int32(len(m.topic.members))
		m.topic.members = append(m.topic.members, member[S]{s, m})
	}
	return m.index != detached
}

// detach ends m, and the topic if m was the last to hold it. It returns false if another call did.
func (r *Registry[S]) detach(m *membership[S]) bool {
	sh := r.topicShardOf(m.topic.hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if m.index == detached {
		return false
	}
	if m.index != pending {
		m.topic.cutLocked(m.index)
	}
	m.index = detached
	r.releaseLocked(sh, m.topic)
	return true
}

// cutLocked removes member i: the last takes its place.
func (t *topic[S]) cutLocked(i int32) {
	last := len(t.members) - 1
	t.members[i] = t.members[last]
	t.members[i].membership.index = i
	t.members[last] = member[S]{}
	t.members = t.members[:last]
	// Three quarters empty, after a storm: keep twice what is needed.
	if cap(t.members) > 16 && last < cap(t.members)/4 {
		t.members = append(make([]member[S], 0, 2*last), t.members...)
	}
}
