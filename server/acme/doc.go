// Package acme obtains and renews the certificates of a listener from a certificate
// authority that speaks ACME (RFC 8555), such as Let's Encrypt. It joins certmagic to
// package server, and ends here: no other package imports it.
//
// [New] checks a [Config], [Manager.TLS] adds the certificates to a tls.Config, and
// [Manager.Start] begins to obtain them, when that listener is open. Until a certificate is
// there, TLS handshakes for its name fail. A certificate that is stored is used at once,
// whether the authority answers or not; the authority is asked again, with growing pauses,
// until it answers.
//
// The authority verifies a domain by TLS-ALPN-01 (RFC 8737) on the listener itself, which it
// reaches at port 443, or, with Config.HTTP, by HTTP-01 at port 80. Wildcards would need
// DNS-01, which is not supported.
//
// # Storage
//
// Keys and certificates are in Config.Dir, in files that only their owner reads, or in a
// bucket of a NATS cluster, which nodes share: one of them, which holds a lease, obtains a
// certificate, the others use it, and each answers the challenges of the others. A program
// that can read the bucket has the private keys.
package acme
