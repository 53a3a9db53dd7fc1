package store

// Emptier is a Store that knows of most empty boxes that they are, so that the login of a
// user without messages costs nothing.
type Emptier interface {
	// Empty reports whether a box is certainly empty: no message was ever stored in it, and
	// if one is being stored, that ends after the call has begun. It returns at once.
	Empty(b Box) bool
}

// Empty reports whether a store knows that a box is empty.
func Empty(st Store, b Box) bool {
	e, ok := st.(Emptier)
	return ok && e.Empty(b)
}
