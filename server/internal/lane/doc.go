// Package lane runs functions that may block, such as requests for what clients have sent:
// those of one key, a session, one after another in the order in which they came, and those
// of different keys at the same time, on a bounded number of goroutines.
//
// A key has a lane only while it has functions. Lanes take turns: a key with many functions
// waits for the others after each of them. Everything is bounded, and what exceeds a bound is
// rejected at once, with an error that says which.
package lane
