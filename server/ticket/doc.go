// Package ticket issues resume tickets: what a client of fanfare.v1 presents in its next
// handshake, so that the server knows its identity without asking the operator's backend and
// without verifying a token.
//
//	tickets, err := ticket.New(ticket.Config{Keys: keys})
//	…
//	ep := server.PushEndpoint("/ws")
//	ep.Identifier, ep.Insecure, ep.Tickets = hook.Identify, false, tickets
//
// # Contract
//
// A ticket is sealed with XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03, RFC 8439) with a
// random nonce of 24 bytes, under a key that HKDF-SHA256 (RFC 5869) derives from one of
// Config.Keys. The version and the path of the endpoint are authenticated with it. A client
// can neither read nor change its ticket; the server keeps nothing.
//
// A ticket holds the whole Identity: user, topics, capabilities, limits, labels, Data that is
// JSON, expiry, and the ID and the time of issue of the token, with which revocations find it.
// It is valid until the earliest of Config.Age after the identity was proved, Identity.Expires,
// and Identity.ValidUntil. A session that was opened by a ticket is given another one, with the
// same end: tickets do not prolong each other.
//
// The first key seals and all keys open, so that a key can be replaced without a client that
// notices: add the new one as the second on all nodes, then make it the first, then remove
// the old one after Config.Age.
//
// # Limitations
//
// A ticket opens sessions until it ends, any number of times, as a token does. A change of the
// backend's decision takes effect when the ticket ends, unless the user is revoked, see package
// revoke. An Identity whose Data is not a jsontext.Value, and one whose ticket would be longer
// than MaxLength, gets none.
package ticket
