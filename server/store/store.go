package store

import (
	"context"
	"time"
)

// Box names one sequence of stored messages. It is not only an inbox: it is the inbox of
// User, or the durable topic Topic. Exactly one of the two is set.
type Box struct{ User, Topic string }

// Entry is a message to store.
type Entry struct {
	// ID makes a repeated Begin harmless: within the store's deduplication window
	// a second entry with the same ID in the same box stores nothing and gets the
	// receipt of the first, unless its payload differs: ErrIDReused. Empty: every entry is a
	// message of its own.
	ID string
	// Binary: a binary WebSocket message, not a text message.
	Binary bool
	// TTL is the time after which the message has expired; 0: never. It may be bounded: ErrTTL.
	TTL time.Duration
	// Payload may be retained until Finish returns, and is not modified.
	Payload []byte
}

// Receipt says where an entry was stored.
type Receipt struct {
	// Offset of the message in its box.
	Offset uint64
	// Prev is Message.Prev. It is valid unless Duplicate is set.
	Prev uint64
	// Duplicate reports that the store already had an entry with this ID.
	Duplicate bool
}

// Message is a stored message.
type Message struct {
	// Offset is the position of the message. Offsets of one box increase, with
	// gaps between them.
	Offset uint64
	// Prev is the offset of the preceding message of the same box, 0 if there
	// was none. A session that has every message up to Prev misses nothing.
	Prev uint64
	// Binary: a binary WebSocket message, not a text message.
	Binary bool
	// Stored is the time of the append, by the clock of the store.
	Stored time.Time
	// Expires is the time after which the message is not delivered; zero: never.
	Expires time.Time
	Payload []byte
}

// Expired reports whether the message has expired at now.
func (m *Message) Expired(now time.Time) bool { return !m.Expires.IsZero() && !now.Before(m.Expires) }

// Page is the answer to Store.Read.
type Page struct {
	// Messages are the oldest messages after the offset, in order. Expired
	// messages are included, for their offsets: a reader acknowledges them like
	// others, without delivering them.
	Messages []Message
	// Rest are the offsets of the messages that follow, for Store.Get.
	Rest []uint64
	// Gap reports that messages after the offset and before Messages[0] (or, if
	// there are none, before now) may have been removed.
	Gap bool
}

// Pending is an entry that has its place in the order of its box.
type Pending interface {
	// Finish stores the entry and returns when it is stored. It must be called
	// exactly once, from any goroutine: later entries of the box wait for it.
	Finish(ctx context.Context) (Receipt, error)
}

// Store keeps messages until users have acknowledged them. It is safe for
// concurrent use. Every method that takes a context may block until the context
// is done or the store's own timeout has passed; the others return at once.
//
// Offsets and acknowledgements: the position of a user in a box only grows, and
// Acked never returns a position that is not stored.
type Store interface {
	// Begin takes a place in the order of appends to a box. Entries of one box
	// are stored in the order of the calls to Begin.
	Begin(to Box, e Entry) Pending

	// Read returns the messages after an offset, 0 for the beginning: as many as
	// have payloads of at most maxBytes together, at least one.
	Read(ctx context.Context, b Box, after uint64, maxBytes int) (Page, error)
	// Get returns the message at an offset, nil if there is none.
	Get(ctx context.Context, b Box, offset uint64) (*Message, error)
	// Last returns the offset of the last message of the box, 0 if it is empty. The
	// message may be gone: if Read then returns none, and a gap, readers learn of it.
	Last(ctx context.Context, b Box) (uint64, error)
	// Before returns the offset of the last message that was certainly stored before a
	// time of this machine's clock, 0 if there is none. A store with another clock
	// subtracts what it does not know of the difference: sessions that open at t miss
	// nothing that is stored afterwards, and get again what was stored just before.
	Before(ctx context.Context, b Box, t time.Time) (uint64, error)

	// Acked returns the offset up to which a user has acknowledged a box, and
	// whether a position is stored at all. If none is known, and the client says
	// that it has been there (with an epoch and an offset), it has missed
	// messages unless Continues reports true; a client that says nothing is a
	// first-time subscriber.
	Acked(ctx context.Context, b Box, user string) (offset uint64, known bool, err error)
	// Ack stores a position soon. A crash before that costs duplicates. A position
	// 0 in a box without messages need not be stored: nothing was acknowledged.
	Ack(b Box, user string, offset uint64)
	// AckSync returns when the position is stored. It returns ErrFull if there is
	// no room for a new position; positions are not evicted for others.
	AckSync(ctx context.Context, b Box, user string, offset uint64) error
	// Renew keeps a stored position from expiring. RenewInterval is how often it
	// should be called for the subscribers of durable topics.
	Renew(b Box, user string, offset uint64)
	RenewInterval() time.Duration

	// Purge deletes the messages of a box and returns how many there were.
	Purge(ctx context.Context, b Box) (uint64, error)

	// Epoch names the history that offsets of a box belong to; it is opaque and
	// at most 32 bytes. It changes whenever offsets could be assigned a second
	// time: when the store is opened, created again or restored from a backup.
	// It is empty while the store is unavailable.
	Epoch(b Box) string
	// Continues reports whether an offset that was handed out together with an
	// epoch denotes the same message in the present history. If not, a client
	// that resumes there has missed messages.
	Continues(ctx context.Context, b Box, epoch string, offset uint64) (bool, error)

	// Ready returns nil if the store can be used, as far as it knows without
	// using it, and otherwise the reason, for an operator to read.
	Ready() error
	// OnRecover sets a function that is called, and must not block, when the
	// store is available again after an outage, during which messages may have
	// been stored without a notice to this process.
	OnRecover(f func())
	// Stats returns counters since the store was opened.
	Stats() Stats
	// Close stores the acknowledgements that are pending and ends the store.
	Close()
}

// Stats are counters since the store was opened, and its size. server.Stats explains the
// tags.
type Stats struct {
	Appended    int64 `json:"appended" metric:"appended_total" help:"Messages stored."`
	Duplicates  int64 `json:"duplicates" metric:"duplicates_total" help:"Messages whose ID was already stored."`
	Rejected    int64 `json:"rejected" metric:"rejected_total" help:"Messages rejected at a limit."`
	Evicted     int64 `json:"evicted" metric:"evicted_total" help:"Messages removed at a limit to make room for newer ones."`
	Read        int64 `json:"read" metric:"read_total" help:"Messages read."`
	Acked       int64 `json:"acked" metric:"acked_total" help:"Acknowledged offsets stored."`
	Unavailable int64 `json:"unavailable" metric:"unavailable_total" help:"Operations that failed."`
	// The bytes that are stored, with their limits; 0 if unknown.
	InboxBytes       int64 `json:"inbox_bytes" metric:"inbox_bytes" help:"Bytes of stored messages in inboxes."`
	MaxInboxBytes    int64 `json:"max_inbox_bytes" metric:"inbox_bytes_limit" help:"Limit of fanfare_store_inbox_bytes; 0 if unknown."`
	TopicBytes       int64 `json:"topic_bytes" metric:"topic_bytes" help:"Bytes of stored messages of durable topics."`
	MaxTopicBytes    int64 `json:"max_topic_bytes" metric:"topic_bytes_limit" help:"Limit of fanfare_store_topic_bytes; 0 if unknown."`
	PositionBytes    int64 `json:"position_bytes" metric:"position_bytes" help:"Bytes of stored acknowledged positions."`
	MaxPositionBytes int64 `json:"max_position_bytes" metric:"position_bytes_limit" help:"Limit of fanfare_store_position_bytes; 0 if unknown."`
}
