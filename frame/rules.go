package frame

import "fmt"

// DefaultMaxMessage is the default of Rules.MaxMessage. 64 KiB is far more than people and their devices send to
// a push server, and bounds the memory of 100,000 clients that stop in the middle of a message to 6.4 GiB.
const DefaultMaxMessage = 64 << 10

// maxEmpty is the maximum number of empty fragments of a message, not counting the last one. RFC 6455
// allows them (5.4), but no known client sends them.
const maxEmpty = 100

// Rules are the limits and the compression of an endpoint. All connections of the endpoint share them, and
// they must not change while in use. The zero value is the safe default.
type Rules struct {
	// MaxMessage is the maximum size of an incoming message in bytes, reassembled and inflated, up to
	// 1 GiB; 0 means DefaultMaxMessage. A larger message fails with StatusMessageTooBig (RFC 6455, 7.4.1
	// and 10.4).
	MaxMessage int

	// Deflate applies to connections that negotiated permessage-deflate.
	Deflate Deflate

	// free is the size in bytes up to which MaxRatio does not apply; 0 means ratioFree. Tests lower it, so
	// that a short input exceeds the ratio.
	free int
}

// Deflate configures permessage-deflate. The zero value of each field means its default.
type Deflate struct {
	// Level is the compression level, from 1 (fastest) to 9 (smallest). Each level pools compressors of 0.8
	// to 1.4 MiB, as many as messages are compressed at the same time. Level 0 uses a compressor without
	// state: it is as fast as level 1, needs a quarter MiB, and its output is 4 % larger than that of
	// level 5.
	Level int

	// MinSize is the minimum payload of a compressed outgoing message, in bytes; 0 means 256. Shorter JSON
	// does not become smaller.
	MinSize int

	// MaxRatio is the maximum inflation ratio of an incoming message: the inflated bytes divided by the
	// compressed bytes that have arrived. It applies past 64 KiB of inflated bytes; 0 means 100. The ratio
	// of text is 3 to 20, that of a bomb 1030.
	MaxRatio int

	// ContextBits, 9 to 15, lets clients compress with the context of their previous messages (RFC 7692,
	// 7.1.1.2), which makes small messages that resemble each other several times smaller. It costs up to
	// 1<<ContextBits bytes, 512 to 32 KiB, for each connection that has sent a compressed message, until
	// the connection ends. 0 declines it, so that an idle connection needs no memory.
	ContextBits int
}

const (
	maxMaxMessage   = 1 << 30 // a message is in memory as a whole; an int of 32 bits can count it
	defaultMinSize  = 256
	defaultMaxRatio = 100
	ratioFree       = 64 << 10
)

// Validate returns an error for the first field that is out of range.
func (r *Rules) Validate() error {
	d := &r.Deflate
	switch {
	case r.MaxMessage < 0 || r.MaxMessage > maxMaxMessage:
		return &ruleError{"MaxMessage", fmt.Sprintf("is %d: want 1 to %d", r.MaxMessage, maxMaxMessage), DefaultMaxMessage}
	case d.Level < 0 || d.Level > 9:
		return &ruleError{"Deflate.Level", fmt.Sprintf("is %d: want 0 to 9", d.Level), 0}
	case d.MinSize < 0:
		return &ruleError{"Deflate.MinSize", fmt.Sprintf("is %d: want 1 or more", d.MinSize), defaultMinSize}
	case d.MaxRatio < 0:
		return &ruleError{"Deflate.MaxRatio", fmt.Sprintf("is %d: want 1 or more", d.MaxRatio), defaultMaxRatio}
	case d.ContextBits != 0 && (d.ContextBits < 9 || d.ContextBits > 15):
		return &ruleError{"Deflate.ContextBits", fmt.Sprintf("is %d: want 0 or 9 to 15", d.ContextBits), 0}
	}
	return nil
}

// ruleError is an error in one field of Rules.
type ruleError struct {
	field, problem string
	def            int // for which the value 0 stands; 0: it stands for itself
}

// Field returns the name of the field, for programs that call the setting something else.
func (e *ruleError) Field() string { return e.field }

// Problem returns what is wrong, without the default: a program that has flags names it in
// its help.
func (e *ruleError) Problem() string { return e.problem }

func (e *ruleError) Error() string {
	if e.def == 0 {
		return e.field + " " + e.problem
	}
	return fmt.Sprintf("%s %s, or 0 for the default of %d", e.field, e.problem, e.def)
}

func (r *Rules) maxMessage() int {
	if r.MaxMessage <= 0 {
		return DefaultMaxMessage
	}
	return r.MaxMessage
}

// maxDeflated is the maximum compressed size of a message. A message of MaxMessage bytes must be accepted
// however it is compressed, and an ordinary compressor enlarges data that does not compress by at most an
// eighth.
func (r *Rules) maxDeflated() int {
	n := r.maxMessage()
	return n + n/8 + 64
}

// maxInflated returns the maximum inflated size of n compressed bytes.
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
	if n <= limit/ratio { // else n*ratio exceeds limit, and may overflow
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
