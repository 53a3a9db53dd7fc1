package registry

// membership ties one session to one topic. It is in the session's list of memberships and in the topic's
// slice of members, which are guarded by different locks, and no two locks are ever held together. The
// order of the steps keeps the two sides consistent:
//
//	          in the session's list          in both            in the list only
//	(new) ──────────────────────▶ pending ──────────▶ attached ──────────▶ detached
//	                                 └──────────────────────────────────────────▲
//
// Subscribe adds a membership to the session's list first, if the session has not left and the list has
// no membership in this topic yet, and attaches it to the topic after that. To end a membership, a call
// detaches it from the topic first and removes it from the list after that. It follows that:
//
//   - No reference dangles. Leave marks the session as left and takes its list while it holds the lock
//     once, so it finds every membership that was ever added and detaches it; no call can add another
//     one. A pending membership is detached, too, and the Subscribe that is about to attach it learns
//     that under the topic's lock. When Leave returns, the session is in no topic.
//   - No session is in a topic twice. Another membership in the same topic can be added to the list only
//     after the first was removed from it, which is after it was detached.
//   - No call waits for another call to continue. A Subscribe that finds a pending membership attaches it
//     itself; a Subscribe that finds a detached one removes it from the list and starts again.
//
// Topics are compared by address: a topic stays in its table while a membership that is not
// detached, or a running call of Subscribe, refers to it, so for all of these each name has one address.
type membership[S any] struct {
	topic *topic[S]      // immutable
	next  *membership[S] // of the same session; guarded by the lock of the user's shard
	index int32          // in topic.members, or pending or detached; guarded by the lock of the topic's shard
}

const (
	pending  = -1
	detached = -2
)

// addMembership adds a pending membership in t to the list of s, or returns the one that the list has. The
// new one takes over the caller's reference to t.
func (r *Registry[S]) addMembership(s S, t *topic[S], most int) (m *membership[S], added bool, err error) {
	e := r.entry(s)
	sh, _ := r.userShardOf(e.user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if e.topics == &r.left {
		return nil, false, ErrNotJoined
	}
	n := 0
	for m := e.topics; m != nil; m = m.next {
		if m.topic == t {
			return m, false, nil
		}
		n++
	}
	if n >= r.limits.Load().TopicsPerSession || most > 0 && n >= most {
		return nil, false, ErrTooManyTopics
	}
	e.topics = &membership[S]{topic: t, next: e.topics, index: pending}
	return e.topics, true, nil
}

// findMembership returns the membership of s in the topic with a name, or nil.
func (r *Registry[S]) findMembership(s S, topic string) *membership[S] {
	e := r.entry(s)
	if e.user == "" {
		return nil
	}
	sh, _ := r.userShardOf(e.user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if e.topics == &r.left {
		return nil
	}
	for m := e.topics; m != nil; m = m.next {
		if m.topic.name == topic {
			return m
		}
	}
	return nil
}

// removeMembership removes m, which is detached, from the list of s, unless another call already did.
func (r *Registry[S]) removeMembership(s S, m *membership[S]) {
	e := r.entry(s)
	sh, _ := r.userShardOf(e.user)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if e.topics == &r.left {
		return
	}
	for link := &e.topics; *link != nil; link = &(*link).next {
		if *link == m {
			*link, m.next = m.next, nil
			return
		}
	}
}

// attach adds s to the members of the topic if m is pending. It returns false if m is detached.
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

// detach removes m from its topic, and the topic from its table if m held the last reference. It returns
// false if another call already detached m.
func (r *Registry[S]) detach(m *membership[S]) bool {
	sh := r.topicShardOf(m.topic.hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if m.index == detached {
		return false
	}
	if m.index != pending {
		m.topic.removeMemberLocked(m.index)
	}
	m.index = detached
	r.releaseLocked(sh, m.topic)
	return true
}
