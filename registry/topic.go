package registry

import (
	"hash/maphash"
	"strings"
	"sync"
	"unsafe"
)

// topicShards is less than userShards because there are fewer topics than users, and a topic's lock is
// held while its members are copied. 64 shards are 4 KiB.
const topicShards = 64

type topicShard[S any] struct {
	// Guarded by mu.
	mu     sync.Mutex
	topics table[*topic[S]]

	_ [cacheLine - 8 - unsafe.Sizeof(table[*byte]{})]byte
}

// topic is a topic and its subscribers. It is in the table of its shard while refs is not 0.
type topic[S any] struct {
	// Immutable.
	name string
	hash uint64

	// Guarded by the lock of the topic's shard.
	members []member[S] // unordered
	refs    int32       // memberships that are pending or attached, and running calls of Subscribe
}

// member holds a session next to its membership, so that copying the sessions follows no pointer.
type member[S any] struct {
	session    S
	membership *membership[S]
}

func (r *Registry[S]) topicShardOf(hash uint64) *topicShard[S] {
	return &r.topics[hash>>56%topicShards]
}

// Subscribe subscribes s to topic. It returns false without an error if s was subscribed already. The
// error is ErrNotJoined or ErrTooManyTopics, or wraps ErrName.
func (r *Registry[S]) Subscribe(s S, topic string) (added bool, err error) {
	return r.SubscribeWithin(s, topic, 0)
}

// SubscribeWithin is Subscribe for a session that may have at most some subscriptions, if that is fewer than
// Limits.TopicsPerSession; 0: as many as that.
func (r *Registry[S]) SubscribeWithin(s S, topic string, most int) (added bool, err error) {
	if err := CheckName(topic); err != nil {
		return false, err
	}
	if r.entry(s).user == "" {
		return false, ErrNotJoined
	}
	for {
		t := r.acquire(topic)
		m, added, err := r.addMembership(s, t, most)
		if !added {
			r.release(t)
		}
		if err != nil {
			return false, err
		}
		if r.attach(s, m) {
			return added, nil
		}
		r.removeMembership(s, m)
	}
}

// Unsubscribe ends the subscription of s to topic. It returns false if s was not subscribed.
func (r *Registry[S]) Unsubscribe(s S, topic string) bool {
	m := r.findMembership(s, topic)
	if m == nil {
		return false
	}
	ended := r.detach(m)
	r.removeMembership(s, m)
	return ended
}

// Subscribed reports whether s is subscribed to topic.
func (r *Registry[S]) Subscribed(s S, topic string) bool { return r.findMembership(s, topic) != nil }

// AppendTopic appends the sessions that are subscribed to topic to dst, in no particular order.
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

// AppendTopics appends the topics to which s is subscribed to dst, in no particular order.
func (r *Registry[S]) AppendTopics(dst []string, s S) []string {
	e := r.entry(s)
	if e.user == "" {
		return dst
	}
	sh, _ := r.userShardOf(e.user)
	sh.mu.Lock()
	if e.topics != &r.left {
		for m := e.topics; m != nil; m = m.next {
			dst = append(dst, m.topic.name)
		}
	}
	sh.mu.Unlock()
	return dst
}

// Topics returns the number of topics with at least one subscriber. It visits every shard, like Sessions.
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

// TopicSessions returns the number of sessions that are subscribed to topic.
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

// acquire returns the topic with a name, which it creates if there is none, and adds a reference to it.
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

// release drops a reference to t.
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

// removeMemberLocked removes member i by moving the last member to its place.
func (t *topic[S]) removeMemberLocked(i int32) {
	last := len(t.members) - 1
	t.members[i] = t.members[last]
	t.members[i].membership.index = i
	t.members[last] = member[S]{}
	t.members = t.members[:last]
	// When three quarters are unused, keep twice what is needed.
	if cap(t.members) > 16 && last < cap(t.members)/4 {
		t.members = append(make([]member[S], 0, 2*last), t.members...)
	}
}
