// Package receipt counts which clients have received a message, without their help: a ping
// follows the message, and its pong, which every WebSocket client sends (RFC 6455, 5.5.2),
// says that everything before it has arrived.
//
// A [Book] has the receipts of one process. A session keeps nothing: the payload of the
// ping says to which [Receipt] it belongs, when it was sent, and which of the receipt's
// pings it is. It is sealed with a key of the process and the ID of the session, so that a client
// cannot make one, change its time, or answer the ping of another session. A receipt has a bit
// for each ping, so that a pong counts once. The bits go when the round is over.
//
// # Contract
//
// Pongs count until [Window] after the last delivery. A receipt is kept for [Keep] from then
// on, and at most [Max] are: a new one takes the place of the oldest. Time enters as an
// argument, as the time since some start.
//
// # Limitations
//
// A client may answer only the latest of several pings (RFC 6455, 5.5.3), so that the number of
// confirmations is a lower bound. Another process has another key: pongs to a process that
// has taken over the session do not count.
package receipt
