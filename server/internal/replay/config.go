package replay

import (
	"cmp"
	"context"
	"iter"
	"log/slog"
	"time"

	"fanfare/server/store"
)

// Config configures a Service.
type Config struct {
	// Store holds the messages. Required.
	Store store.Store
	// Window is half of a session's outbound queue, in bytes: at most so much of
	// stored messages is unacknowledged, and at most so much of live messages is
	// held. Default 32 KiB.
	Window int
	// Workers bounds the goroutines that wait for the store. Default 32.
	Workers int
	// PositionsPerUser bounds the positions in durable topics that are stored for a
	// user, and PositionsPerAddress those for the clients of an address, each within
	// the time for which positions are stored. Default 1,000 and 10,000.
	PositionsPerUser, PositionsPerAddress int
	// Sync returns when this node receives the notices of messages that other
	// nodes store in a box from now on. Nil on a single node.
	Sync func(ctx context.Context, b store.Box) error
	// Settle is the time after which the store is asked once more, for messages of a
	// node that had not heard of the session when it stored them. Default 2s; used only
	// with Sync.
	Settle time.Duration
	// Receivers are the open sessions that have a user, for Recheck.
	Receivers iter.Seq[Receiver]
	// Delivered and Acknowledged, unless nil, are called with the lock of the session held
	// after a stored message was written or queued, and after a position was given to the
	// store. They must not block, and not keep the Message.
	Delivered    func(Receiver, *Message)
	Acknowledged func(r Receiver, b store.Box, epoch string, offset uint64)
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Logger gets damage, skipped messages and panics. Default slog.Default().
	Logger *slog.Logger
}

const (
	tickInterval = 100 * time.Millisecond
	// storeDelay is the pause after the store has failed.
	storeDelay = 500 * time.Millisecond
	// roomDelay is the pause of a session whose queue is full of other messages
	// and which has no ping outstanding: nothing reports that the queue drained.
	roomDelay = tickInterval
	// holdTime is how long a live message waits for older stored ones, about.
	holdTime = time.Second
	// lagTries is how often a message that must be there is read, 500 ms apart:
	// a replica may lag. After that it was removed.
	lagTries = 5
	// wrongPongs is the number of pongs with another payload than that of the
	// outstanding ping after which the session counts as not acknowledging. Three
	// may cross the ping: heartbeats, and pongs that were not asked for.
	wrongPongs = 4
	// entryCost is the size of an entry of the outbound queue (netpoll counts it
	// against the bound of the queue, too).
	entryCost = 32
)

func (c *Config) setDefaults() {
	if c.Store == nil {
		panic("BUG: replay: Config.Store is nil")
	}
	c.Window = cmp.Or(c.Window, 32<<10)
	c.Workers = cmp.Or(c.Workers, 32)
	c.PositionsPerUser = cmp.Or(c.PositionsPerUser, 1000)
	c.PositionsPerAddress = cmp.Or(c.PositionsPerAddress, 10_000)
	c.Settle = cmp.Or(c.Settle, 2*time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
}
