// Package netpoll watches many connections with few goroutines and moves their
// bytes. It knows nothing of what the bytes mean.
//
// An [Engine] has a [Poller] and a small pool of workers. A connection is a
// [Conn], embedded in the struct that implements its [Handler]. When bytes
// arrive, a worker reads them into its own buffer and calls Handler.Data; an
// idle connection owns no buffer and no goroutine.
//
// # Contract
//
// Calls to the Handler of one connection never overlap. Open is the first and Close
// the last; each comes exactly once, for every connection that was opened. The right
// to read, the read turn, is drawn in turn.go.
//
// The bytes given to Data are borrowed until it returns. It may modify them.
//
// A turn is short: one read. A connection with more to do, because there are more
// bytes to read or because its handler did not consume all it was given, yields: its
// next turn comes after those of the connections that became ready meanwhile, and the
// engine serves one such connection between two looks at the poller.
//
// A Handler may block. Others are not stopped by that: when the workers hardly
// get on for a few milliseconds more are started, up to Config.Workers.
//
// Conn.Write never blocks. What the kernel does not take is queued, up to
// Config.QueueBytes; what happens beyond is said by the message's [Policy], and
// decided in one place, queue.admit. A message that has begun to go out is
// always finished, and an empty queue takes any message, so a queue may hold one
// message more than its bound. Shared bytes are queued by reference.
//
// When the peer ends the stream the connection is over, and what is still queued
// is dropped: a peer that reads on after its own end is not told from one that is
// gone. Behind Conn.Seal it is over when the queue is empty, because a peer that
// has said its last word and shut down its sending side still waits for ours.
// Nothing here bounds how long it may take to read that: whoever seals does, with
// Close.
//
// # Lifetime of a descriptor
//
// A descriptor's number is given up by the holder of the turn only (release),
// behind the lock that writers hold, so no read or write ever meets a number
// that belongs to someone else by now. An event names the generation that its
// descriptor was added with; events of connections that are gone are counted
// and dropped. A spurious event does no harm: what is there is found by reading
// until the kernel says that there is nothing, never by trusting an event.
//
// # Transports
//
// [Epoll] is the native poller; [Easygo] stands on github.com/mailru/easygo,
// which costs a callback and a map entry per connection and a hand-over per
// event, and whose descriptors are not close-on-exec; [Goroutine] gives each
// connection a goroutine that blocks in Read, the way of net/http, and is what
// runs where there is no epoll. A connection without a descriptor (TLS) is
// always served that way. Above this package nothing can tell them apart.
//
// # System calls
//
// One epoll_ctl per connection, when it is opened: it is watched for both
// directions, edge-triggered, and never touched again. A message that fits a
// read costs one recv, its answer one send. close(2) removes the descriptor from
// the poller. Nothing allocates per message.
package netpoll
