package server

import (
	"cmp"

	"fanfare/frame"
	"fanfare/server/internal/field"
	"fanfare/server/internal/limit"
)

// Rate limits what one session may send. A session that exceeds it is closed with
// 1008. The zero value is the default.
type Rate struct {
	// Messages per second, control frames included. 0: 100, far more than a person or
	// a device has to say to a push server.
	Messages int
	// Bytes per second, those of headers and empty fragments included; a compressed
	// message counts as what it inflates to, if that is more. 0: 256 KiB. A session
	// that was quiet may send ten times as many at once, and in any case one message
	// of Rules.MaxMessage.
	Bytes int
	// Unlimited switches the limits off, UnlimitedOnLoopback does where Config.Listen
	// is loopback or a Unix socket.
	Unlimited, UnlimitedOnLoopback bool
}

func (r *Rate) validate() error {
	for _, f := range []struct {
		name string
		v    *int
		def  int
	}{{"Rate.Messages", &r.Messages, 100}, {"Rate.Bytes", &r.Bytes, 256 << 10}} {
		if *f.v == 0 {
			*f.v = f.def
		}
		if *f.v < 0 || int64(*f.v) > limit.MaxRate {
			return field.Errorf(f.name, "is %d: want 1 to %d", *f.v, int64(limit.MaxRate))
		}
	}
	return nil
}

// rates are the limits of a session of ep. MaxMessage is a promise as well: deflate
// may make a message longer by an eighth, and there are headers.
func (ep *Endpoint) rates() limit.Rates {
	bytes := int64(ep.Rate.Bytes)
	longest := int64(cmp.Or(ep.Rules.MaxMessage, frame.DefaultMaxMessage))
	return limit.Rates{
		Messages: int64(ep.Rate.Messages),
		Bytes:    bytes,
		AtOnce:   max(bytes*limit.Burst, longest+longest/8+1<<10),
	}
}

var errOverRate = &frame.CloseError{Code: frame.StatusPolicyViolation, Reason: "too much at once"}

// overRate ends a session that exceeds its endpoint's Rate.
func (s *Session) overRate() {
	s.srv().stats.overRate.Add(1)
	s.fail(errOverRate)
}

// metered returns the meter for a read of n bytes. It returns nil if the read is free:
// where there is no limit, and for what may be the answer to a ping, so that an idle
// session needs no meter.
func (s *Session) metered(ep *endpoint, n int, now, heard uint32) *limit.Meter {
	if ep.Rate.Unlimited || n <= maxPong && s.pinged.Load() >= heard && s.pinged.Load() != 0 {
		return nil
	}
	return &s.extend().meter
}

// maxPong is the length of the longest pong to a ping of ours.
const maxPong = 2 + 4 + 125
