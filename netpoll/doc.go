// Package netpoll watches many connections with few goroutines and moves their bytes. It
// does not know what the bytes mean.
//
// An [Engine] has a [Poller] and a small pool of workers. A connection is a [Conn],
// embedded in the struct that implements its [Handler]. When bytes arrive, a worker reads
// them into its own buffer and calls Handler.Data. An idle connection has no buffer and no
// goroutine.
//
// # Contract
//
// Calls to the Handler of one connection never overlap. Open is the first and Close the
// last, and each comes exactly once. (If the engine cannot watch a connection that Accept
// has accepted, Close is the only call.) turn.go draws the state machine of the read turn,
// the right to make these calls. No Handler is called with a lock held: locks are leaves,
// except that Conn.mu is held during calls of a Layer, which must call no method of the Conn.
//
// The slice that Data receives is borrowed until it returns; Data may modify it.
//
// A turn is short: one read. A connection with more work, because there are more bytes to
// read or because Data did not consume all of them, yields: its next turn comes after
// those of the connections that became ready meanwhile. The engine serves one such
// connection between two polls.
//
// A Handler may block in Data and Close. Other connections are not stopped by that: if the
// workers make no progress for a few milliseconds the engine starts more, up to
// Config.Workers.
//
// Conn.Write never blocks. It queues what the kernel does not accept, up to
// Config.QueueBytes. Beyond that the message's [Policy] decides, in one function,
// queue.makeRoom. A message that has begun to go out is always finished, and a queue in which
// nothing waits accepts any message, so a queue may hold one message more than its bound (on
// a net.Conn, two). A message with a [Key] replaces the one with the same Key in the queue.
//
// When the peer ends the stream the connection ends, and its queue is dropped: the
// engine cannot distinguish a peer that still reads from one that is gone. After Conn.Seal the connection ends
// when the queue is empty, because a peer that has shut down its sending side may still
// wait for the last bytes. The engine does not limit how long that takes; the caller of
// Seal does, with Close. After a close the kernel offers unsent bytes for 5 s (Linux).
//
// # Lifetime of a descriptor
//
// Only the holder of the read turn closes a descriptor, with the lock that writers hold,
// so no read or write meets a number that the kernel has assigned again. An event names
// the generation of its descriptor; events of closed connections are counted and dropped.
// Spurious events do no harm, because reads go on until the kernel has nothing. freeze.go
// says how a connection moves to another process.
//
// # Transports
//
// [Epoll] is the native poller. [Easygo] uses github.com/mailru/easygo, which costs a
// callback and a map entry per connection, and whose descriptors are not close-on-exec.
// [Goroutine] serves each connection with a goroutine, as net/http does; it is the only
// transport on systems without epoll, and serves connections without a descriptor (TLS) on
// all. Handlers see no difference, but for Write and Queued of a connection without one.
//
// # System calls
//
// A connection is added to the poller once, for both directions, edge-triggered. A message
// that fits a read costs one recv, its answer one send. Nothing allocates per message.
package netpoll
