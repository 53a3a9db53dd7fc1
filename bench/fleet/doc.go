// Package fleet runs load clients as separate processes with one thread each, as many as the descriptor limit requires,
// so that the cost of the clients is known apart from that of the server.
//
// The parent writes one JSON command per line to a worker's standard input and reads JSON replies from its
// standard output. Between commands the worker keeps answering pings. A worker ends when its input ends, so
// none survives its parent.
package fleet
