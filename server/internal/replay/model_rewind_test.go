package replay

import (
	"slices"
	"strings"

	"fanfare/server/store"
)

// rewinds returns how many messages a session wants to get first of a topic, 0 if that means
// nothing: it did not rewind, or the store has begun another epoch since.
func (s *modelSession) rewinds(b store.Box) int {
	if start := s.resumed[b]; b.Topic != "" && !start.Resume && s.wanted[b].epochs == s.m.store.epochs {
		return int(start.Rewind)
	}
	return 0
}

// checkRewound: a topic that rewinds begins before its last messages and, unless the session
// counts as a receiver of an earlier one, not before others that are old.
func (s *modelSession) checkRewound(b Begin) {
	n := s.rewinds(b.Box)
	if n == 0 || b.Unknown || b.Gap || b.Epoch != s.m.store.epoch() {
		return
	}
	l := s.m.store.boxes[b.Box]
	since := s.wanted[b.Box].at.Add(-s.m.store.skew) // what the store can tell
	follow, old := 0, 0
	for i := range l {
		msg := &l[i]
		if msg.Offset <= b.Offset {
			continue
		}
		if follow++; msg.Stored.Before(since) {
			old++
		}
	}
	if follow < min(n, len(l)) {
		faultf("session %d rewinds %d: %v begins at %d, and %d messages follow of %d", s.id, n, b.Box, b.Offset, follow, len(l))
	}
	counts := slices.ContainsFunc(s.owed, func(o owed) bool { return o.box == b.Box && o.offset == b.Offset+1 })
	if old > n && !counts {
		faultf("session %d rewinds %d: %v begins at %d, and %d old messages follow", s.id, n, b.Box, b.Offset, old)
	}
}

// checkLast: an open session that rewinds has the last messages.
func (s *modelSession) checkLast() {
	for name := range s.topics {
		b := topic(name)
		l := s.m.store.boxes[b]
		for _, msg := range l[max(len(l)-s.rewinds(b), 0):] {
			id, _, _ := strings.Cut(string(msg.Payload), ".")
			if msg.Expires.IsZero() && !s.got[id] && !s.m.skipped(s.user, b, msg.Offset) {
				faultf("session %d rewinds %d in %s, and does not get %s@%d", s.id, s.rewinds(b), name, id, msg.Offset)
			}
		}
	}
}
