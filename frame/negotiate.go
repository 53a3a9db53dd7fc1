package frame

import (
	"errors"
	"strconv"
)

// Params is the compression that a handshake negotiated for one connection. The zero value means no
// compression.
type Params struct {
	// ServerBits is the window of the client's decompressor, as a power of two: 8 to 15, or 0 without
	// permessage-deflate.
	ServerBits uint8

	// ContextBits is the context that the client keeps between messages, as a power of two: 9 to 15, or 0
	// if it compresses each message by itself.
	ContextBits uint8
}

// ErrExtensions means that a Sec-WebSocket-Extensions header does not match the grammar, so the handshake
// must fail (RFC 6455, 9.1).
var ErrExtensions = errors.New("frame: malformed Sec-WebSocket-Extensions header")

// Negotiate chooses among the extensions that a client offers. values are the values of the client's
// Sec-WebSocket-Extensions headers, in order; answer is the value of the header in the response, or "" for
// no header.
//
// Negotiate accepts the first valid offer of permessage-deflate and declines the others, as RFC 7692, 7.1
// requires. It ignores unknown extensions. It treats the parameters as follows:
//
//   - server_no_context_takeover is always in the answer: a message is compressed once for all its
//     receivers, so the server has no context, and the client need not keep one.
//   - client_no_context_takeover is in the answer unless Rules allow a context.
//   - server_max_window_bits is always accepted: a message that is longer than the client's window is sent
//     to it uncompressed.
//   - client_max_window_bits is in the answer if the client offers it and a context is kept, to limit the
//     client's window to that context.
func (r *Rules) Negotiate(values ...[]byte) (p Params, answer string, err error) {
	n := 0 // elements of all values, which form one list (9.1)
	for _, value := range values {
		s := scanner{value}
		for {
			for s.skip(',') { // RFC 9110, 5.6.1.2: a list may have empty elements
			}
			if s.end() {
				break
			}
			o, ok := s.offer()
			if !ok {
				return Params{}, "", ErrExtensions
			}
			if p == (Params{}) {
				p, answer = o.accept(r)
			}
			n++
		}
	}
	if n == 0 && len(values) > 0 { // 1#extension: at least one
		return Params{}, "", ErrExtensions
	}
	return p, answer, nil
}

// offer is one extension of the header with its parameters.
type offer struct {
	deflate bool // permessage-deflate
	invalid bool // must be declined

	serverNoContext bool  // server_no_context_takeover
	clientNoContext bool  // client_no_context_takeover
	serverBits      uint8 // server_max_window_bits, or 0
	clientBits      uint8 // client_max_window_bits, 15 if it has no value, or 0
}

// offer reads an extension with its parameters, up to the next comma or the end. ok is false if it does
// not match the grammar.
func (s *scanner) offer() (o offer, ok bool) {
	name := s.token()
	o.deflate = string(name) == "permessage-deflate"
	if len(name) == 0 {
		return o, false
	}
	for s.skip(';') {
		var value []byte
		name := s.token()
		if len(name) == 0 {
			return o, false
		}
		if s.skip('=') {
			if value = s.value(); len(value) == 0 {
				return o, false
			}
		}
		o.param(string(name), value)
	}
	return o, s.end() || s.rest[0] == ','
}

// param handles a parameter. RFC 7692, 7.1: a server "MUST decline" an offer with a parameter that is not
// defined, has an invalid value, or occurs twice.
func (o *offer) param(name string, value []byte) {
	switch name {
	case "server_no_context_takeover": // 7.1.1.1: "has no value"
		o.invalid = o.invalid || o.serverNoContext || value != nil
		o.serverNoContext = true
	case "client_no_context_takeover": // 7.1.1.2: "has no value"
		o.invalid = o.invalid || o.clientNoContext || value != nil
		o.clientNoContext = true
	case "server_max_window_bits": // 7.1.2.1
		o.invalid = o.invalid || o.serverBits != 0 || !windowBits(value)
		o.serverBits = parseBits(value)
	case "client_max_window_bits": // 7.1.2.2: the value is optional
		o.invalid = o.invalid || o.clientBits != 0 || value != nil && !windowBits(value)
		o.clientBits = 15
		if value != nil {
			o.clientBits = parseBits(value)
		}
	default:
		o.invalid = true
	}
}

// windowBits reports whether v is "a decimal integer value without leading zeroes between 8 to 15" (RFC
// 7692, 7.1.2.1).
func windowBits(v []byte) bool {
	return len(v) == 1 && (v[0] == '8' || v[0] == '9') ||
		len(v) == 2 && v[0] == '1' && v[1] >= '0' && v[1] <= '5'
}

// parseBits returns the value of v. If windowBits does not accept v, the offer is declined.
func parseBits(v []byte) uint8 {
	n, _ := strconv.ParseUint(string(v), 10, 8)
	return uint8(n)
}

const (
	answerNoContext = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	answerContext   = "permessage-deflate; server_no_context_takeover"
)

// accept returns the answer to an offer, or zero Params to decline it.
func (o *offer) accept(r *Rules) (p Params, answer string) {
	if !o.deflate || o.invalid {
		return Params{}, ""
	}
	p.ServerBits = 15
	answer = answerNoContext
	if bits := o.context(r); bits != 0 {
		// With a window of 8 bits zlib uses one of 9 bits, so the client's references may reach that far.
		p.ContextBits = max(bits, 9)
		answer = answerContext
		if o.clientBits != 0 {
			answer += "; client_max_window_bits=" + strconv.Itoa(int(bits))
		}
	}
	if o.serverBits != 0 {
		// 7.1.2.1: accepted "by including the parameter in the response with the same or smaller value".
		p.ServerBits = o.serverBits
		answer += "; server_max_window_bits=" + strconv.Itoa(int(o.serverBits))
	}
	return p, answer
}

// context returns the context that the client may keep between messages, as a power of two, or 0 for none.
func (o *offer) context(r *Rules) uint8 {
	want := uint8(r.Deflate.ContextBits)
	switch {
	case o.clientNoContext: // 7.1.1.2: the client will not use one
		return 0
	case o.clientBits != 0:
		return min(want, o.clientBits)
	case want == 15:
		return 15
	default:
		// 7.1.2.2: without the parameter in the offer the client's window cannot be limited to the context.
		return 0
	}
}
