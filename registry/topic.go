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

func (r *Registry[S]) topicShardOf(hash uint64) *topicShard[S] {
	return &r.topics[hash>>56%topicShards]
}

// Subscribe makes s a member of topic. It returns false without an error if s was one already. Errors:
// ErrGone, ErrTooManyTopics, or what CheckName says.
func (r *Registry[S]) Subscribe(s S, topic string) (added bool, err error) {
	if err := CheckName(topic); err != nil {
		return false, err
	}
	if r.entry(s).user == "" {
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
	e := r.entry(s)
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
