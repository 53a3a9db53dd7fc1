// Package auth identifies clients by JSON Web Tokens (RFC 7519) that a backend has
// signed.
//
//	keys, err := auth.LoadKeys("public.pem")
//	…
//	endpoint := server.PushEndpoint("/ws")
//	endpoint.Identifier, endpoint.Insecure = auth.JWT(keys), false
//
// Tokens, in place of JWT, has keys that change, and is also the endpoint's Refresh.
//
// # Contract
//
// A key decides which algorithm verifies a token, never the token itself (RFC 8725
// section 3.1): HS256 for a secret, RS256, ES256 and EdDSA for public keys, and what a
// member of a JSON Web Key Set says of itself. The keys of a set verify tokens of its
// issuer alone. Sets are fetched from a URL and kept while the issuer is away; only a
// handshake whose token names an unknown key waits for a fetch.
//
// The names of claims are compared exactly, a repeated name or text that is not UTF-8
// makes the token malformed, and so does a claim of a wrong type or null. The answer says
// what is wrong with the token, without a value of it.
//
// # Limitations
//
// Key files are read once; Tokens can replace the keys. A token is
// valid until it expires, unless server.Config.Revocations says otherwise. Encrypted tokens (JWE) are not supported.
package auth
