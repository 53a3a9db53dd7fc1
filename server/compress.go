package server

import "fanfare/frame"

// negotiate answers a client's offer of permessage-deflate, RFC 7692 section 7.
func (ep *endpoint) negotiate(r *Request) (p frame.Params, extension string, err error) {
	var offers [][]byte
	for _, f := range r.headers {
		if equalFold(f.name, "Sec-WebSocket-Extensions") {
			offers = append(offers, f.value)
		}
	}
	if p, extension, err = ep.Rules.Negotiate(offers...); err != nil {
		return p, "", Refuse(400, "malformed Sec-WebSocket-Extensions") // RFC 6455, 9.1
	}
	if !ep.Compress {
		return frame.Params{}, "", nil
	}
	return p, extension, nil
}

// windowShift is where a session's state keeps the client's deflate window, so
// that a broadcast learns of it without another look at memory. 0: the session
// has no permessage-deflate.
const (
	windowShift = 24
	windowMask  = 0xf
)

// compress makes the session speak permessage-deflate from its first frame on.
func (s *Session) compress(p frame.Params) {
	s.dec.Start(p)
	s.state.Or(uint32(p.ServerBits) << windowShift)
}

// encoded is the frame of p as this session is to get it. All who negotiated
// the same share one compressed twin.
func (s *Session) encoded(p *frame.Prepared) []byte {
	state := s.state.Load()
	if state&envelopeBit != 0 {
		p = p.Twin(envelope)
	}
	window := uint8(state >> windowShift & windowMask)
	if window == 0 {
		return p.Plain()
	}
	return p.Deflated(&s.endpoint().Rules, frame.Params{ServerBits: window})
}
