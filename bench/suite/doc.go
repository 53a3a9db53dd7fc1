// Package suite runs scenarios over servers: round by round, every server once per round in random order, each
// time a fresh server process and fresh client processes, so that all meet the same weather and none the
// leavings of another.
package suite
