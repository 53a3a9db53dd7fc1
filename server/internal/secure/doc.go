// Package secure serves TLS on connections of package netpoll. crypto/tls does the
// handshake, on a bounded number of goroutines. What remains of a connection of TLS 1.3
// are the keys of package tlsrecord. A connection of TLS 1.2 keeps its tls.Conn, and so
// about 7 KiB, but no goroutine.
//
// A [Service] has the configuration; [Service.Secure] gives a connection a [Layer].
//
// # The handshake
//
// The connection stays with its poller. The layer gathers the ClientHello without a
// goroutine, then has crypto/tls run on one of maxHandshakes goroutines, and hands it one
// record at a time, so that it reads nothing ahead. Other handshakes wait in the order in
// which they came. The owner of the connection limits the time.
//
// The traffic secrets come from Config.KeyLogWriter of a copy of the configuration. The
// records that crypto/tls has sent with them, which are session tickets, are found by
// decrypting them. If crypto/tls reports no secrets, the tls.Conn is kept as for TLS 1.2.
//
// # Session tickets
//
// The service makes their keys, and changes them every 24 h; a ticket is accepted for up
// to 7 days, as crypto/tls does by itself for a configuration that is not copied. A new
// configuration has new keys. 0-RTT is never accepted.
//
// # Locks
//
// handshake.mu is a leaf. The lock of netpoll.Conn may be held when it is taken.
package secure
