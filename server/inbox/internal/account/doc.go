// Package account keeps the account of an embedded store: a file beside those of
// JetStream that says which messages and positions were accepted and what was removed
// on request. Before a server uses the directory, Inspect compares the two, without
// changing anything.
//
// An Account is written while the store is open; its methods may be called by several
// goroutines. A Check belongs to the goroutine that opens the store.
//
// # Limitations
//
// Blocks are read in the format of JetStream's file store, with its checksums. A file
// is read while no server uses it: Inspect reads a copy of a running store, too, but
// finds what was stored meanwhile as not accounted for.
package account
