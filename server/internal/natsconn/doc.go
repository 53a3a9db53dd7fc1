// Package natsconn connects to an outside NATS cluster, for the packages inbox and
// cluster, each of which has a connection of its own.
//
// # Contract
//
// [Validate] checks a [Config] without the network. [Connect] returns soon even if
// no NATS server answers: the connection is then established, and re-established
// after each loss, in the background, without an end. Connect fails only for errors
// that retrying does not cure: a malformed URL, a file that cannot be read, rejected
// credentials, a certificate that does not verify.
//
// While disconnected, a publish fails at once: nothing is buffered for later. A
// write that the network does not accept within [WriteTimeout] ends the connection.
// [Traffic] distinguishes a busy connection from a stalled one.
//
// # Secrets
//
// No error and no log line contains a password or token of a URL, also if the URL
// cannot be parsed. [Redact] is how a URL list is printed.
//
// # Log events
//
// "NATS connected", "NATS unreachable" (at start), "NATS disconnected", "NATS
// reconnected", "NATS reconnect failed" and "NATS reports an error", the last two
// at most once a minute for each text. Each has the attribute "connection", which is
// [Config.Role]: a process with a store and a cluster has two connections, and so
// logs an event of the NATS server twice.
package natsconn
