// Package tlsrecord is the record layer of TLS 1.3, RFC 8446 section 5, for a connection
// whose handshake crypto/tls has done: it decrypts and encrypts records with the traffic
// secrets of that handshake. It has no I/O and no goroutine.
//
// A [Conn] is plain data: for each direction a secret, a key if it fits, an IV and a
// sequence number. The AEAD is made with crypto/aes, crypto/cipher or
// golang.org/x/crypto/chacha20poly1305 when bytes move; a [Cache] keeps those of
// connections that are busy.
//
// # Contract
//
// Open, and Seal with the other methods that write, may be called by two goroutines at the
// same time, but each by one only. Open decrypts in place what it is given and returns
// the beginning of an incomplete record, which the caller presents again, with the bytes
// that follow. Nothing is allocated for a length that a peer declared.
//
// After an error Open returns the same error again. io.EOF means that the peer has sent
// close_notify. An [Error] is a violation by the peer, to be answered with SealAlert;
// a [PeerAlert] is an alert from the peer. No other error is returned. Plaintext
// that came before the error is returned with it, and is authentic.
//
// # What a peer may send
//
// Application data, KeyUpdate, and alerts. Everything else ends the connection: renewed
// authentication was not asked for, and session tickets come from servers. At most 16
// records in a row may carry no application data, and KeyUpdates are limited to one a
// second, 16 at once, because each costs several hashes.
//
// # Limits on keys
//
// Section 5.5 permits about 2^24.5 records with one key of AES-GCM. Seal updates its key
// after 2^24, whatever the cipher suite. That of the other direction is the peer's
// responsibility.
//
// # Secrets
//
// No error contains a secret. Erase overwrites them. Copies in the garbage of an AEAD, or
// of crypto/tls, are beyond its reach.
package tlsrecord
