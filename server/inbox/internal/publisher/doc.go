// Package publisher publishes messages to a stream of an embedded NATS server.
//
// A request of nats.go passes three goroutines of the client on its way to the server and back, and
// waking them costs more than storing a short message does. Here one of
// the callers, the leader, writes to the connection and reads the answers itself. Messages of
// callers that come meanwhile gather in a group, which the first of them then leads: they
// share one write and one wake of each goroutine of the server. A caller that is alone waits for
// nothing.
//
// # Contract
//
//   - Publish returns the server's answer to its own message: an error of one is not an error of
//     another.
//   - Messages reach the server in the order of calls to Publish.
//   - A message that was not answered may have been stored.
//   - A caller whose context is done returns at once, unless it leads. A leader returns when all
//     messages of its group are answered, at the latest after the timeout. A connection on which
//     an answer is missing is closed, and the next group uses a new one.
//   - If the server does not answer in time, messages that have gathered meanwhile fail as well. So Publish
//     returns after twice the timeout at the latest, if the server accepts connections.
//
// # Borrowed memory
//
// Publish copies the message before it returns or waits.
package publisher
