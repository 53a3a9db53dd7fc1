package registry

// Entry is a session's place in a Registry. It is a field of the session; the zero value is ready.
type Entry[S any] struct {
	// Immutable after Join, empty before. All sessions of a user share the string.
	user string

	// Guarded by the lock of the user's shard.
	next   S              // the next session of the same user
	topics *membership[S] // the session's memberships; &Registry.left after Leave
}

// User returns the name under which the session joined, even after the session has left. It returns ""
// before Join.
func (e *Entry[S]) User() string { return e.user }
