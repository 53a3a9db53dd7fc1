// Package upgrade replaces the running program by a new process: it starts that, carries the
// conversation of the two, and has the socket at which an operator asks for it.
//
// # The conversation
//
//	old process                               new process
//	Start                         ───▶        Inherit
//	                              ◀───        hello (version)
//	hello (version, listeners)    ───▶        reads its flags and files
//	                              ◀───        ready: the configuration is valid
//	closes the store
//	store                         ───▶        opens the store, makes the server and the API
//	                              ◀───        assembled
//	Server.HandOver               ───▶        Server.TakeOver, on a socket of its own
//	serve                         ───▶        serves the listeners
//	                              ◀───        serving
//
// The new process answers failed, with the reason, or just ends. Then the old one opens its
// store again and goes on. From the moment when HandOver has succeeded the new process goes on
// even if the old one ends.
//
// # The control socket
//
// It has the mode 0600, and its kernel tells who asks: only the user of the server and root
// may. A request is one line, and so is the answer.
package upgrade
