// Package places decides which connections of the API stay open when there are too many.
//
// A Table has a limited number of places, and each open connection has one of them: it
// embeds a Place, and is the pointer type that a Table is made for. A Table closes nothing
// and writes nothing; its methods name the connections that the caller must close or reject.
//
// # Contract
//
//   - A connection is anonymous until a request of it has been authorized: with an API key,
//     or without one if the API needs none. Anonymous connections have at most half of the
//     places, so connections that send nothing, or no valid key, do not exclude callers.
//   - A new connection without a place replaces the oldest anonymous connection or, if there
//     is none, the authorized connection that has been idle for longest.
//   - If every connection has a request in progress, the new one is rejected.
//   - The connections that are being rejected are bounded, too.
//
// All methods may be called by any goroutine. The zero Place belongs to no Table; a Place is
// used with one Table only.
package places
