package server

import (
	"net/http"

	"fanfare/frame"
	"fanfare/server/internal/handshake"
)

// negotiate answers a client's offer of permessage-deflate, RFC 7692 section 7.
func (ep *endpoint) negotiate(r *Request) (p frame.Params, extension string, err error) {
	var offers [][]byte
	for _, f := range r.head.Fields {
		if handshake.EqualFold(f.Name, "Sec-WebSocket-Extensions") {
			offers = append(offers, f.Value)
		}
	}
	if p, extension, err = ep.Rules.Negotiate(offers...); err != nil {
		return p, "", Reject(http.StatusBadRequest, "malformed Sec-WebSocket-Extensions") // RFC 6455, 9.1
	}
	if !ep.Compress {
		return frame.Params{}, "", nil
	}
	return p, extension, nil
}

// compress makes the session speak permessage-deflate from its first frame on.
func (s *Session) compress(p frame.Params) {
	s.dec.Start(p)
	s.state.Or(uint32(p.ServerBits) << windowShift)
}

// encoded returns the frame of m as this session gets it, nil if its dialect cannot
// encode it. Sessions with the same dialect and compression share one.
func (s *Session) encoded(m *Message) []byte {
	p := m.frame(s.srv(), s.dialect())
	if p == nil {
		return nil
	}
	return s.compressed(p)
}

// compressed is p, compressed if the session negotiated that.
func (s *Session) compressed(p *frame.Prepared) []byte {
	window := uint8(s.state.Load() >> windowShift & windowMask)
	if window == 0 {
		return p.Plain()
	}
	return p.Deflated(&s.endpoint().Rules, frame.Params{ServerBits: window})
}
