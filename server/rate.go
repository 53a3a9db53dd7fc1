package server

import (
	"cmp"
	"fmt"

	"fanfare/frame"
)

// Rate limits what one connection may send. A peer that exceeds it is closed
// with 1008. The zero value is the default.
type Rate struct {
	// Messages a second, control frames included. 0: 100, far above what a
	// person or a device has to say to a push server.
	Messages int
	// Bytes a second, those of headers and empty fragments included; a compressed
	// message counts as what it inflates to, if that is more. 0: 256 KiB. Who was
	// quiet may send ten times as many at once, and in any case one message of
	// Rules.MaxMessage.
	Bytes int
	// Unlimited switches the limits off, UnlimitedOnLoopback does where Config.Listen
	// is loopback or a Unix socket.
	Unlimited, UnlimitedOnLoopback bool
}

// burst is how many seconds' worth a connection that was quiet may send at once.
const burst = 10

func (r *Rate) validate() error {
	for _, f := range []struct {
		name string
		v    *int
		def  int
	}{{"Rate.Messages", &r.Messages, 100}, {"Rate.Bytes", &r.Bytes, 256 << 10}} {
		if *f.v == 0 {
			*f.v = f.def
		}
		if *f.v < 0 || *f.v > 1<<40 {
			return fmt.Errorf("%s is %d: want more than 0", f.name, *f.v)
		}
	}
	return nil
}

// bucket is a token bucket whose clock is that of the server's ticks, so that a
// message costs no look at a clock. A tick brings a fraction of a token, so it counts
// in what a rate of one brings in a tick, and loses nothing.
type bucket struct {
	left int64  // in tokens / ticksPerSecond
	last uint32 // tick of the last refill; 0: never, the bucket is full
}

// take takes n tokens of a bucket that gains rate a second. It reports false,
// and takes none, if there are too few.
func (b *bucket) take(n, rate int, now uint32) bool { return b.takeOf(n, rate, rate*burst, now) }

// takeOf is take for a bucket that holds most.
func (b *bucket) takeOf(n, rate, most int, now uint32) bool {
	full := int64(most) * int64(ticksPerSecond)
	if ticks := int64(now - b.last); b.last == 0 || ticks > full/int64(rate) {
		b.left = full
	} else {
		b.left = min(b.left+ticks*int64(rate), full)
	}
	b.last = now
	cost := int64(n) * int64(ticksPerSecond)
	if cost > b.left {
		return false
	}
	b.left -= cost
	return true
}

// putBack gives back what was taken too early.
func (b *bucket) putBack(n int) { b.left += int64(n) * int64(ticksPerSecond) }

// meter is what a session that talks has, and an idle one has not.
type meter struct {
	messages, bytes bucket
	came            int // bytes since the last message
}

// took takes the bytes of a read.
func (m *meter) took(ep *endpoint, n int, now uint32) bool {
	return m.bytes.takeOf(n, ep.Rate.Bytes, ep.mostBytes(), now)
}

// message takes a message of n bytes, and what it has inflated to beyond the bytes
// that came: one of 90 may have cost the work for 64 KiB.
func (m *meter) message(ep *endpoint, op Op, n int, now uint32) bool {
	if !m.messages.take(1, ep.Rate.Messages, now) {
		return false
	}
	if op.IsControl() { // a message may go on behind it
		return true
	}
	more := max(n-m.came, 0)
	m.came = 0
	return m.took(ep, more, now)
}

// mostBytes is what may come at once. MaxMessage is a promise as well: deflate may
// make one longer by an eighth, and there are headers.
func (ep *Endpoint) mostBytes() int {
	longest := cmp.Or(ep.Rules.MaxMessage, frame.DefaultMaxMessage)
	return max(ep.Rate.Bytes*burst, longest+longest/8+1<<10)
}

var errOverRate = &frame.CloseError{Code: frame.StatusPolicyViolation, Reason: "too much at once"}

// overRate ends a session that exceeds its endpoint's Rate.
func (s *Session) overRate() {
	s.srv().stats.overRate.Add(1)
	s.fail(errOverRate)
}

// metered returns the meter of a read of n bytes, nil if it is free: where there
// is no limit, and for what may be the answer to a ping, so that an idle session
// needs no meter.
func (s *Session) metered(ep *endpoint, n int, now, heard uint32) *meter {
	if ep.Rate.Unlimited || n <= maxPong && s.pinged.Load() >= heard && s.pinged.Load() != 0 {
		return nil
	}
	return &s.extend().meter
}

// maxPong is the longest pong to a ping of ours.
const maxPong = 2 + 4 + 125
