package store

import "time"

// HistoryQuery says which stored messages to read.
type HistoryQuery struct {
	// After is the offset of the last message that the caller has, 0 for none.
	After uint64
	// Epoch is the one that After belongs to. Empty: After belongs to the present one.
	Epoch string
	// Limit bounds the number of messages; 0: no limit.
	Limit int
	// MaxBytes bounds their payloads together. One message of any size is read.
	MaxBytes int
	// Now is the clock that messages expire by; nil: time.Now.
	Now func() time.Time
}

// History is a page of the stored messages of a user or a durable topic.
type History struct {
	// Epoch belongs to all offsets here.
	Epoch string
	// Messages are the oldest after HistoryQuery.After, without those that have expired.
	Messages []Message
	// Next is the HistoryQuery.After of the next page.
	Next uint64
	// More is the number of messages that follow.
	More int
	// Gap reports that messages after HistoryQuery.After, and before Messages or Next, are
	// not available, or that HistoryQuery.After belongs to another history.
	Gap bool
}
