// Package audience decides which sessions of a node an audience selects. It knows sessions by
// their user and their number; what an audience may be is in package node.
//
// A [Selection] is made once for a message and not modified afterwards, so any number of
// goroutines may ask it. It allocates nothing for a session.
package audience
