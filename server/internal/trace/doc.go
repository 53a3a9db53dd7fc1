// Package trace keeps what happens to single users for an operator who watches: a [Table] has
// the traces of one process, and each trace the events that were not read yet.
//
// # Contract
//
// A process without a trace pays for [Table.Running], one atomic load, where something
// happens. With traces, users without one pay for a look into a map that is never changed.
//
// [Table.Poll] starts a trace, and returns its events after those that the caller has seen: a
// repeated question loses nothing. A trace that is not polled for [Lease] ends, so that it needs
// no end to be released, and a node that has restarted or joins takes part from the next poll on.
//
// # Limits
//
// A process has [MaxTraces] traces. Each keeps 1 MiB or 4,096 events; the oldest ones make
// room, and are counted. A payload is cut to 16 KiB.
//
// # Locks
//
// Table.mu → log.mu; log.mu is a leaf. Add is called with locks of sessions held.
package trace
