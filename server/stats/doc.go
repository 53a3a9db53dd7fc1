// Package stats has the counters of a server, and what it says about itself: [Counters] are
// changed where something happens, and [Stats] are a snapshot of them and of the present
// state. The tags of Stats name its metrics; package api exports them.
package stats
