package frame

import "fmt"

// DefaultMaxMessage is the limit on an incoming message where Rules name none.
// 64 KiB is far above what people and devices send to a push server, and
// 100,000 peers that stop in the middle of such a message hold 6.4 GiB, not more.
const DefaultMaxMessage = 64 << 10

// maxEmpty is how many fragments of a message may be empty, its last one aside.
// RFC 6455 allows them (5.4) and nobody needs them.
const maxEmpty = 100

// Rules is what an endpoint accepts from its peers and how it compresses for
// them. It is immutable once in use and shared by all connections of the
// endpoint. The zero value is safe.
type Rules struct {
	// MaxMessage limits an incoming message, all fragments together and
	// inflated, in bytes, up to 1 GiB; 0 means DefaultMaxMessage. A peer that exceeds it
	// gets 1009 (RFC 6455, 7.4.1 and 10.4).
	MaxMessage int

	// Deflate applies to connections that negotiated permessage-deflate.
	Deflate Deflate

	// free is what a message may inflate to before MaxRatio limits it, in bytes;
	// 0 means ratioFree. Tests lower it, so that little input exceeds the ratio.
	free int
}

// Deflate is how an endpoint uses permessage-deflate. Every field's zero value
// stands for its default.
type Deflate struct {
	// Level is 1, fastest, to 9, smallest. Each keeps compressors of 0.8 to
	// 1.4 MiB in a pool, as many as messages are compressed at the same moment.
	// 0 compresses without history between calls: as fast as 1, its output 4 %
	// larger than that of 5, and a quarter MiB.
	Level int

	// MinSize is the payload from which on an outgoing message is compressed,
	// in bytes; 0 means 256. JSON of less gains nothing.
	MinSize int

	// MaxRatio limits how far an incoming message may inflate: to MaxRatio
	// bytes for each that the peer has sent of it so far, beyond the first
	// 64 KiB, which are free; 0 means 100. Text deflates 3 to 20 times, a bomb
	// 1030 times.
	MaxRatio int

	// ContextBits, 9 to 15, lets clients compress with the context of their
	// previous messages (RFC 7692, 7.1.1.2), which makes small messages that
	// resemble each other several times smaller. It costs up to
	// 1<<ContextBits bytes, 512 to 32 KiB, on every connection that has sent a
	// compressed message, for as long as it lives. 0 refuses it, so that an
	// idle connection holds nothing.
	ContextBits int
}

const (
	maxMaxMessage   = 1 << 30 // a message is in memory as a whole, 32 bits can count it
	defaultMinSize  = 256
	defaultMaxRatio = 100
	ratioFree       = 64 << 10
)

// Validate reports the first field that is out of its range.
func (r *Rules) Validate() error {
	d := &r.Deflate
	switch {
	case r.MaxMessage < 0 || r.MaxMessage > maxMaxMessage:
		return fmt.Errorf("frame: MaxMessage is %d, want 0 (for %d) to %d", r.MaxMessage, DefaultMaxMessage, maxMaxMessage)
	case d.Level < 0 || d.Level > 9:
		return fmt.Errorf("frame: Deflate.Level is %d, want 0 to 9", d.Level)
	case d.MinSize < 0:
		return fmt.Errorf("frame: Deflate.MinSize is %d, want 0 (for %d) or more", d.MinSize, defaultMinSize)
	case d.MaxRatio < 0:
		return fmt.Errorf("frame: Deflate.MaxRatio is %d, want 0 (for %d) or more", d.MaxRatio, defaultMaxRatio)
	case d.ContextBits != 0 && (d.ContextBits < 9 || d.ContextBits > 15):
		return fmt.Errorf("frame: Deflate.ContextBits is %d, want 0 or 9 to 15", d.ContextBits)
	}
	return nil
}

func (r *Rules) maxMessage() int {
	if r.MaxMessage <= 0 {
		return DefaultMaxMessage
	}
	return r.MaxMessage
}

// maxDeflated limits the compressed form of a message. Deflate enlarges what it
// cannot compress, by an eighth at most if the compressor is not out to: a
// message of MaxMessage bytes must pass however it is encoded.
func (r *Rules) maxDeflated() int {
	n := r.maxMessage()
	return n + n/8 + 64
}

// maxInflated limits what n compressed bytes may become.
func (r *Rules) maxInflated(n int) int {
	ratio := r.Deflate.MaxRatio
	if ratio <= 0 {
		ratio = defaultMaxRatio
	}
	free := r.free
	if free <= 0 {
		free = ratioFree
	}
	limit := r.maxMessage()
	if n <= limit/ratio { // else n*ratio is no limit, and might overflow
		limit = min(limit, max(free, n*ratio))
	}
	return limit
}

func (r *Rules) minSize() int {
	if r.Deflate.MinSize <= 0 {
		return defaultMinSize
	}
	return r.Deflate.MinSize
}
