package frame

import (
	"errors"
	"strconv"
)

// Params is what a handshake agreed on for one connection. The zero value means
// that there is no compression. It is plain data.
type Params struct {
	// ServerBits is the window of the client's decompressor, as a power of
	// two: 8 to 15, or 0 without permessage-deflate.
	ServerBits uint8

	// ContextBits is the context that the client keeps from message to
	// message, as a power of two: 9 to 15, or 0 if each message stands alone.
	ContextBits uint8
}

// ErrExtensions means that a Sec-WebSocket-Extensions header does not follow the
// grammar, upon which the handshake must fail (RFC 6455, 9.1).
var ErrExtensions = errors.New("frame: malformed Sec-WebSocket-Extensions header")

// Negotiate chooses among the extensions that a client offers, given the values
// of its Sec-WebSocket-Extensions headers in order. answer is the value of the
// header to answer with, or "" for none.
//
// It takes the first offer of permessage-deflate that is valid and declines the
// others, as RFC 7692, 7.1 demands; extensions that it does not know are ignored. Of the parameters:
//
//   - server_no_context_takeover is always answered: a message is compressed
//     once for all its receivers, so there is no context to take over, and the
//     client may forget its own.
//   - client_no_context_takeover is answered unless Rules allow a context.
//   - server_max_window_bits is always accepted: a message that is longer than
//     the client's window is sent uncompressed to it.
//   - client_max_window_bits is answered when the client offers it and a context
//     is kept, so that the client's window is no larger than that.
func (r *Rules) Negotiate(values ...[]byte) (p Params, answer string, err error) {
	n := 0 // elements of all values: 9.1 has them be one list
	for _, value := range values {
		s := scanner{value}
		for {
			for s.eat(',') { // RFC 7230, 7: a list may have empty elements
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
	if n == 0 && len(values) > 0 { // 1#extension: one at least
		return Params{}, "", ErrExtensions
	}
	return p, answer, nil
}

// offer is one element of the header.
type offer struct {
	deflate bool // it is for permessage-deflate
	invalid bool // and must be declined

	serverAlone bool  // server_no_context_takeover
	clientAlone bool  // client_no_context_takeover
	serverBits  uint8 // server_max_window_bits, or 0
	clientBits  uint8 // client_max_window_bits, 15 if it came without a value, or 0
}

// offer reads an extension with its parameters, up to the comma behind it or the
// end. ok is false if it does not follow the grammar.
func (s *scanner) offer() (o offer, ok bool) {
	name := s.token()
	o.deflate = string(name) == "permessage-deflate"
	if len(name) == 0 {
		return o, false
	}
	for s.eat(';') {
		var value []byte
		name := s.token()
		if len(name) == 0 {
			return o, false
		}
		if s.eat('=') {
			if value = s.value(); len(value) == 0 {
				return o, false
			}
		}
		o.param(string(name), value)
	}
	return o, s.end() || s.rest[0] == ','
}

// param takes a parameter. RFC 7692, 7.1: a server "MUST decline" an offer with a
// parameter that is not defined, has an invalid value, or is there twice.
func (o *offer) param(name string, value []byte) {
	switch name {
	case "server_no_context_takeover": // 7.1.1.1: "has no value"
		o.invalid = o.invalid || o.serverAlone || value != nil
		o.serverAlone = true
	case "client_no_context_takeover": // 7.1.1.2: "has no value"
		o.invalid = o.invalid || o.clientAlone || value != nil
		o.clientAlone = true
	case "server_max_window_bits": // 7.1.2.1
		o.invalid = o.invalid || o.serverBits != 0 || !windowBits(value)
		o.serverBits = parseBits(value)
	case "client_max_window_bits": // 7.1.2.2: the value may be missing
		o.invalid = o.invalid || o.clientBits != 0 || value != nil && !windowBits(value)
		o.clientBits = 15
		if value != nil {
			o.clientBits = parseBits(value)
		}
	default:
		o.invalid = true
	}
}

// windowBits checks for "a decimal integer value without leading zeroes between
// 8 to 15" (RFC 7692, 7.1.2.1).
func windowBits(v []byte) bool {
	return len(v) == 1 && (v[0] == '8' || v[0] == '9') ||
		len(v) == 2 && v[0] == '1' && v[1] >= '0' && v[1] <= '5'
}

// parseBits returns the value of v, which windowBits has checked or the offer is
// declined.
func parseBits(v []byte) uint8 {
	n, _ := strconv.ParseUint(string(v), 10, 8)
	return uint8(n)
}

const (
	answerAlone   = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	answerContext = "permessage-deflate; server_no_context_takeover"
)

// accept returns what to answer to an offer, or zero Params to decline it.
func (o *offer) accept(r *Rules) (p Params, answer string) {
	if !o.deflate || o.invalid {
		return Params{}, ""
	}
	p.ServerBits = 15
	answer = answerAlone
	if bits := o.context(r); bits != 0 {
		// zlib's window of 256 bytes is one of 512 in truth, so a client that
		// asks for 8 may refer back that far.
		p.ContextBits = max(bits, 9)
		answer = answerContext
		if o.clientBits != 0 {
			answer += "; client_max_window_bits=" + strconv.Itoa(int(bits))
		}
	}
	if o.serverBits != 0 {
		// 7.1.2.1: accepted "by including the parameter in the response with
		// the same or smaller value".
		p.ServerBits = o.serverBits
		answer += "; server_max_window_bits=" + strconv.Itoa(int(o.serverBits))
	}
	return p, answer
}

// context returns the window that the client may keep between messages, as a
// power of two, or 0 if it may not.
func (o *offer) context(r *Rules) uint8 {
	want := uint8(r.Deflate.ContextBits)
	switch {
	case o.clientAlone: // 7.1.1.2: it will not use one anyway
		return 0
	case o.clientBits != 0:
		return min(want, o.clientBits)
	case want == 15:
		return 15
	default:
		// 7.1.2.2: without the parameter in the offer the client's window
		// cannot be limited to what is to be kept of it.
		return 0
	}
}
