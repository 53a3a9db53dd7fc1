package registry

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
//   - Nothing doubles. While the topic is the one that the first membership names, a second can be on
//     the list only after the first was taken off, hence was detached; and the topic can be another of
//     the same name only after the first was detached: a session is at most once among the members.
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

// enlist puts a pending membership in t on the list of s, or returns the one that is there. A new one
// takes over the caller's hold on t.
func (r *Registry[S]) enlist(s S, t *topic[S]) (m *membership[S], added bool, err error) {
	e := r.entry(s)
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
	e := r.entry(s)
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
	e := r.entry(s)
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
