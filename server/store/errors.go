package store

import (
	"errors"
	"fmt"
)

// Errors that a Store returns, wrapped with details.
var (
	// ErrFull: a limit is reached, and the store is configured to reject.
	ErrFull = errors.New("store: full")
	// ErrTooBig: the message exceeds what the store can hold in one message.
	ErrTooBig = errors.New("store: message too big")
	// ErrTTL: Entry.TTL is longer than the store keeps messages.
	ErrTTL = errors.New("store: TTL too long")
	// ErrIDReused: another message with the same Entry.ID was stored a moment ago.
	ErrIDReused = errors.New("store: ID was used for another message")
	// ErrUnavailable: the store did not answer, or rejected the operation. An
	// entry may have been stored all the same: repeat it with the same ID.
	ErrUnavailable = errors.New("store: not available")
	// ErrDiskFull is ErrUnavailable with a known cause.
	ErrDiskFull = fmt.Errorf("%w: disk full", ErrUnavailable)
	// ErrDamaged: a message, or the store, is not what was written.
	ErrDamaged = errors.New("store: damaged")
)
