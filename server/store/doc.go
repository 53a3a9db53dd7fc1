// Package store is the contract between the server and whatever stores its durable
// messages: the inbox of each user, and the topics that are declared durable.
//
// Package server appends through a [Store] and reads, through it, what a session
// has missed. Package inbox implements it on NATS JetStream. A program that embeds
// the server may bring another implementation; it must keep three promises:
//
//   - nothing is reported before it is stored: neither a message by Pending.Finish,
//     nor a position by Acked;
//   - messages of one box have increasing offsets, in the order of Begin, and each
//     names the offset of the one that precedes it;
//   - offsets are never assigned twice within one epoch.
//
// A Store that is an [Emptier] saves the login of a user without messages a question.
//
// # Borrowed memory
//
// Entry.Payload is borrowed until Finish returns. What Read and Get return belongs
// to the caller.
package store
