// Package fanfarev1 encodes and parses the sub-protocol fanfare.v1: text messages that hold
// one JSON object each. docs/protocol.md describes it for clients.
//
// A Message carries a payload to the client, an Object is what the server says besides,
// and a Command is what a client sends. Positions reads what a client names in the query
// of its handshake to resume. Execute does what a command asks for, through a Client, which
// is a session of package server; the package is pure otherwise.
package fanfarev1
