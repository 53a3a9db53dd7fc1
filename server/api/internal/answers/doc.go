// Package answers queues answers to a client that sends many requests before it reads: the
// lines of a batch.
//
// A Queue is the outbound side of one connection while a batch is in progress. It costs
// nothing while the kernel accepts what is written; only when it does not, bytes are copied
// and a goroutine sends them. The bytes of all queues are counted in Config.Queued, and the
// caller stops serving lines when a queue, or all of them, are too long.
package answers
