// Package fanout calls a function for many receivers: in portions, so that reads and heartbeats
// get a chance to run in between, and on all cores if there are enough receivers. A panic of the
// function reaches the caller's goroutine.
package fanout
