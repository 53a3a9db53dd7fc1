package netpoll

import "fmt"

// Readiness says what a descriptor is ready for. It is a set of bits.
type Readiness uint8

const (
	// Readable: a read would return bytes, the end of the stream or an error.
	Readable Readiness = 1 << iota
	// Writable: a write that would have blocked may go on.
	Writable
	// Hangup: the peer has shut down its side or the connection broke; reads
	// must go on until they return 0 or an error, because a short read no
	// longer means that nothing is left.
	Hangup
	// Urgent: a read may end early at the mark of urgent data, tcp(7), so reads must
	// go on as for Hangup.
	Urgent
)

// Event tells that one descriptor became ready. Gen is the generation that the
// descriptor was added with: an event that was harvested before a close carries
// the generation of the connection that is gone, not that of its successor.
type Event struct {
	FD    int32
	Gen   uint32
	Ready Readiness
}

// Poller tells which descriptors are ready.
//
// Add watches a descriptor for both directions, edge-triggered, and is the only
// call that a descriptor ever needs. Remove is called before the descriptor is
// closed, or taken away; an event may still arrive after it.
//
// Wait is called by one goroutine at a time. It fills dst and returns at once
// when there are events or block is false; with block it sleeps until there is
// an event or Wake was called, and may return 0. Wake may be called from any
// goroutine, also after Close, when it does nothing: a connection may be closed while
// its engine is. Close is called when no other call but Wake is under way.
type Poller interface {
	Add(fd int, gen uint32) error
	Remove(fd int, closing bool) error
	Wait(dst []Event, block bool) (int, error)
	Wake()
	Close() error
}

// Kind names a transport.
type Kind uint8

const (
	// Default is Epoll on Linux and Goroutine elsewhere.
	Default Kind = iota
	// Epoll is the native poller.
	Epoll
	// Easygo uses the poller of github.com/mailru/easygo.
	Easygo
	// Goroutine gives each connection a goroutine of its own that blocks in
	// Read of a net.Conn.
	Goroutine
)

var kindNames = [...]string{Default: "default", Epoll: "epoll", Easygo: "easygo", Goroutine: "goroutine"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// ParseKind is the inverse of Kind.String.
func ParseKind(s string) (Kind, error) {
	for k, name := range kindNames {
		if s == name {
			return Kind(k), nil
		}
	}
	return 0, fmt.Errorf("netpoll: unknown transport %q: want epoll, easygo or goroutine", s)
}
