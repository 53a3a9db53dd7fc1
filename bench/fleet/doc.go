// Package fleet runs load clients as processes of their own: as many as the descriptor limit asks for, each
// with one thread, so that what the clients cost is known apart from what the server costs.
//
// The parent writes one JSON command per line to a worker's standard input and reads JSON replies from its
// standard output. Between commands the worker keeps answering pings. A worker ends when its input ends, so
// none survives its parent.
package fleet
