package client

import (
	"context"
	"sync"
)

// Position names a message of the inbox or of a topic. Offsets are comparable within an
// epoch only.
type Position struct {
	Offset uint64 `json:"offset"`
	Epoch  string `json:"epoch"`
}

// PositionStore keeps positions over restarts of the program. Keys name a user, and a topic
// or the inbox. Calls for different keys may overlap; an error is reported to Config.Error,
// and the call repeated.
type PositionStore interface {
	// Load returns ok false if no position was saved.
	Load(ctx context.Context, key string) (p Position, ok bool, err error)
	Save(ctx context.Context, key string, p Position) error
}

// MemoryStore keeps positions as long as the program runs.
type MemoryStore struct {
	mu        sync.Mutex
	positions map[string]Position // guarded by mu
}

// NewMemoryStore returns an empty store.
func NewMemoryStore() *MemoryStore { return &MemoryStore{positions: make(map[string]Position)} }

// Load implements PositionStore.
func (s *MemoryStore) Load(_ context.Context, key string) (Position, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.positions[key]
	return p, ok, nil
}

// Save implements PositionStore.
func (s *MemoryStore) Save(_ context.Context, key string, p Position) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.positions[key] = p
	return nil
}
