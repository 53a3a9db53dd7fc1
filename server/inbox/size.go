package inbox

import (
	"fmt"

	"fanfare/server/store"
)

// headroom is for headers, in bytes: an ID and a name of 256 each, and links.
const headroom = 4 << 10

// tooBig returns the error for a payload of so many bytes, nil if it can be stored.
func (s *Store) tooBig(size int64) error {
	nats := s.link.Load().nc.MaxPayload()
	switch most := nats - headroom; {
	case size > s.cfg.Bytes:
		return fmt.Errorf("%w: %d bytes; the limit of a user or topic, Bytes, is %d", store.ErrTooBig, size, s.cfg.Bytes)
	case size <= most:
		return nil
	case s.local != nil:
		return fmt.Errorf("%w: %d bytes; at most %d can be stored", store.ErrTooBig, size, most)
	default:
		return fmt.Errorf("%w: %d bytes; at most %d can be stored while max_payload of NATS is %d", store.ErrTooBig, size, most, nats)
	}
}

// warnOfMaxPayload logs, once for each value, that NATS accepts less than what is
// going to be appended.
func (s *Store) warnOfMaxPayload(accepts int64) {
	want := min(s.cfg.MaxPayload, s.cfg.Bytes) + headroom
	if s.cfg.MaxPayload == 0 || accepts >= want || s.tooLow.Swap(accepts) == accepts {
		return
	}
	if s.local != nil {
		s.log.Warn("messages longer than the embedded store accepts are rejected", "longest", accepts-headroom, "MaxPayload", s.cfg.MaxPayload)
		return
	}
	s.log.Warn("messages longer than NATS accepts are rejected; raise max_payload in the configuration of NATS",
		"max_payload", accepts, "want", want, "longest", accepts-headroom)
}
