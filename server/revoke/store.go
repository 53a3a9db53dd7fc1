package revoke

import (
	"context"
	"errors"
)

// Store keeps entries, for all nodes. Package inbox implements it.
type Store interface {
	// Put stores an entry in place of that of the same ID, whose revision must be last, 0 if
	// there is none, and returns the new revision. The error wraps ErrConflict if the
	// revision is another one; after any other error the entry may be stored.
	Put(ctx context.Context, e Entry, last uint64) (revision uint64, err error)
	// Remove removes the entry of that ID, unless it has a later revision.
	Remove(ctx context.Context, id string, revision uint64) error
	// Load returns the entries, with ID and Revision. If the Version is still that of a
	// former Load, it may return no entries.
	Load(ctx context.Context, since Version) ([]Entry, Version, error)
}

// Version says whether the entries of a Store have changed.
type Version struct {
	// History changes when the Store has lost its entries, and begins anew.
	History string
	// State is an opaque value, and another one after each Put and Remove.
	State string
}

// ErrConflict: another node has changed the entry.
var ErrConflict = errors.New("the revocation was changed by another node at the same time")
