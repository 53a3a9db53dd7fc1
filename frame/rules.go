package frame

// DefaultMaxMessage is the limit on an incoming message where Rules name none.
// 64 KiB is far above what people and devices send to a push server, and
// 100,000 peers that stop in the middle of such a message hold 6.4 GiB, not more.
const DefaultMaxMessage = 64 << 10

// Rules is what an endpoint accepts from its peers. It is immutable once in use
// and shared by all connections of the endpoint. The zero value is safe.
type Rules struct {
	// MaxMessage limits an incoming message, all fragments together and
	// inflated, in bytes; 0 means DefaultMaxMessage. A peer that exceeds it
	// gets 1009 (RFC 6455, 7.4.1 and 10.4).
	MaxMessage int
}

func (r *Rules) maxMessage() int {
	if r.MaxMessage <= 0 {
		return DefaultMaxMessage
	}
	return r.MaxMessage
}
