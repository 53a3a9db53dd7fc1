// Package gate lets messages through to the store. While the store is moving to another
// process, which only one may use at a time, messages to store wait in order:
//
//	open ── Release ──▶ released ── Restore ──▶ open
//	                        │
//	                        └── Move ──▶ moved: the successor stores them
//
// # Contract
//
// [Gate.Begin] takes the place of a message in the order of its box, in every state: messages
// that wait pass in the order in which they came, before any that comes later. Whatever uses
// the store for a message, or to delete messages, is accounted: Release returns when no such
// call is in progress. Reads and acknowledgements do not pass the gate: package replay makes
// them, and settles before the store moves.
//
// # Locks
//
// Gate.mu → the locks of the Store, in Epoch and Begin, and those of the Successor.
package gate
