// Package handshake turns the bytes of a WebSocket opening handshake into a Request,
// and a Request into the bytes of the answer (RFC 6455, section 4.2).
//
//   - Head gathers a request from reads until it is complete, within a bound.
//   - Request.Parse takes its request line and fields apart.
//   - Check reports whether it is a valid handshake, Origins.Check whether a browser may
//     make it from its page, and ChooseProtocol selects the sub-protocol.
//   - AppendResponse is the answer that accepts, Rejection.AppendResponse the one that
//     rejects.
//
// The package is pure: bytes in, values out. It knows no session, no connection, no
// configuration and, but for the Date of a rejection, no clock.
//
// # Strict and lenient
//
// The server follows RFC 6455 and RFC 9112 where they demand an error, and is lenient
// where they permit it and clients need it: a key is decoded as leniently as other
// servers do (the RFC's own example has bits after its end), an empty line before the
// request is ignored, and lists may be repeated, have empty members and come in any
// order. It is strict where leniency helps request smuggling: lines end with CRLF only, and
// one that ends with LF alone is rejected at once; folding, a space before a colon, and a
// body are errors.
//
// # Borrowed memory
//
// A Request refers to the bytes that Parse was given. Its byte slices are valid until
// these change; strings that it returns are copies.
package handshake
