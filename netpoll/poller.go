package netpoll

import "fmt"

// Readiness is a set of bits that say what a descriptor is ready for.
type Readiness uint8

const (
	// Readable means that a read would return bytes, the end of the stream or an error.
	Readable Readiness = 1 << iota
	// Writable means that a write that would have blocked may go on.
	Writable
	// Hangup means that the peer has shut down its side, or the connection broke. Reads
	// must go on until they return 0 or an error, because a short read no longer means
	// that nothing is left.
	Hangup
	// Urgent means that a read may end early at the mark of urgent data, tcp(7). Reads
	// must go on as for Hangup.
	Urgent
)

// Event reports that a descriptor became ready. Gen is the generation that the descriptor
// was added with: an event that was harvested before a close carries the generation of
// the closed connection, not that of its successor.
type Event struct {
	FD    int32
	Gen   uint32
	Ready Readiness
}

// Poller finds the descriptors that are ready.
//
// Add watches a descriptor for both directions, edge-triggered. A descriptor is added
// once and never modified. Remove is called before the descriptor is closed or taken
// away; an event may still arrive after it.
//
// Wait is called by one goroutine at a time. It fills dst and returns at once if there
// are events or block is false. With block it sleeps until there is an event or Wake was
// called, and may return 0. Wake may be called from any goroutine, also after Close, when
// it does nothing, because a connection may be closed while its engine is. Close is called
// when no call but Wake is under way.
type Poller interface {
	Add(fd int, gen uint32) error
	Remove(fd int, closing bool) error
	Wait(dst []Event, block bool) (int, error)
	Wake()
	Close() error
}

// Transport names the way in which connections are watched.
type Transport uint8

const (
	// Default is Epoll on Linux and Goroutine elsewhere.
	Default Transport = iota
	// Epoll is the native poller.
	Epoll
	// Easygo uses the poller of github.com/mailru/easygo.
	Easygo
	// Goroutine serves each connection with a goroutine that blocks in Read of a
	// net.Conn.
	Goroutine
)

var transportNames = [...]string{Default: "default", Epoll: "epoll", Easygo: "easygo", Goroutine: "goroutine"}

// String returns the name that ParseTransport accepts.
func (k Transport) String() string {
	if int(k) < len(transportNames) {
		return transportNames[k]
	}
	return fmt.Sprintf("Transport(%d)", uint8(k))
}

// ParseTransport is the inverse of Transport.String.
func ParseTransport(s string) (Transport, error) {
	for k, name := range transportNames {
		if s == name {
			return Transport(k), nil
		}
	}
	return 0, fmt.Errorf("netpoll: unknown transport %q: want epoll, easygo or goroutine", s)
}
