package inbox

import (
	"context"
	"errors"
	"fmt"

	"fanfare/server/inbox/internal/datadir"
	"fanfare/server/inbox/internal/publisher"
	"fanfare/server/store"
)

// ErrLocked reports that another process uses the directory.
var ErrLocked = datadir.ErrLocked

// errRaced reports that another append was stored first, so the box does not end where
// this append expected.
var errRaced = errors.New("inbox: another append was stored first")

// errBoxFull reports that the box has Config.Messages messages, and none may be removed.
var errBoxFull = errors.New("inbox: box full")

// errNoStream reports that the stream does not exist.
var errNoStream = errors.New("inbox: no such stream")

// apiError is the error in an answer of JetStream.
type apiError struct {
	Status      int    `json:"code"`
	Code        int    `json:"err_code"`
	Description string `json:"description"`
}

func (e *apiError) Error() string { return fmt.Sprintf("JetStream: %s (%d)", e.Description, e.Code) }

// JetStream's error codes, from its errors.json.
const (
	codeNoMessage         = 10037
	codeStreamNotFound    = 10059
	codeWrongLast         = 10071
	codeWrongLastConstant = 10164
	codeStoreFailed       = 10077 // a limit of the stream; the description says which
	codeStorageExceeded   = 10047
	codeInsufficient      = 10023
)

// wrongLast reports whether a code says that another write came first: it has been stored, or
// is under way in a replicated stream.
func wrongLast(code int) bool { return code == codeWrongLast || code == codeWrongLastConstant }

// unavailable counts a failed operation and returns its error.
func (s *Store) unavailable(err error) error {
	s.stats.unavailable.Add(1)
	if sick := s.sick(); sick != nil {
		return sick
	}
	if full := s.full.Load(); full != nil && (errors.Is(err, context.Canceled) || errors.Is(err, publisher.ErrDisconnected)) {
		return *full // the store was sick until a moment ago
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, s.explain(err))
}
