package inbox

import "fanfare/server/store"

var _ store.Emptier = (*Store)(nil)

// Empty reports whether nothing was ever appended to a box, as far as an embedded store
// remembers without asking JetStream; see store.Emptier. An append enters the name of its
// box before it stores anything.
func (s *Store) Empty(b store.Box) bool {
	empty, err := s.knownEmpty(b)
	return empty && err == nil
}
