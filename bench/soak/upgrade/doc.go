// Package upgrade replaces a server again and again while its clients are connected and pushes arrive, and
// measures what the clients notice: every message must arrive once and in order, no client may be disconnected,
// and the longest delay of a message is the pause.
package upgrade
