// Package keeper runs the server as a child process, and starts it again when it has died.
// Sessions that were at rest go on in the next one; see fanfare/server/keep.
//
// To the new process the keeper is a predecessor that hands over listeners and sessions, as in
// package upgrade, also at the first start, when there are none.
package keeper
