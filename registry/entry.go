package registry

// Entry is a session's place in a Registry. It is a field of the session; the zero value is ready.
type Entry[S any] struct {
	// Immutable after Join. Empty before. Shared by all sessions of the user.
	user string

	// Guarded by the lock of the user's shard.
	next   S              // the same user's next session
	topics *membership[S] // what the session follows, nil if nothing; the registry's gone after Leave
}

// User returns the name under which the session joined, also after it has left. Before Join it is empty.
func (e *Entry[S]) User() string { return e.user }
