package replay

import (
	"net/netip"
	"time"

	"fanfare/server/store"
)

// Receiver is a session, as this package needs it. The service calls it with the
// session's lock held, so its methods must not block and must not call the service for
// the same session; Discard is the one exception.
type Receiver interface {
	// ID is unique among the receivers that exist at one time.
	ID() uint64
	// User owns the inbox of the session. It is not empty.
	User() string
	// Phase only grows. It is Ended before Detach is called.
	Phase() Phase
	// Address is the client's address, under which it is limited; the zero Addr if it
	// is exempt.
	Address() netip.Addr
	// Since is the time at which the receiver became Open, or a little earlier.
	Since() time.Time
	// AckMode and Pings are constant from Attach on. Pings reports whether the
	// session can send a ping whose payload comes back in a pong.
	AckMode() AckMode
	Pings() bool
	// Queued is the size of the outbound queue, counted as the bound of the queue
	// counts it: 32 bytes for each entry in addition to its bytes. 0: it is empty.
	Queued() int

	// Begin sends the client the position at which a stream begins: a hello for the inbox, the
	// confirmation of a subscribe for a topic. A dialect without either ignores it.
	Begin(b Begin)
	// Encode returns the frame of a stored message, nil if that is impossible. A
	// frame of a Message without Gap that has a Shared value may be shared by all its
	// receivers.
	Encode(m *Message) Frame
	// Dialect is equal for receivers whose Encode returns the same. It is comparable.
	Dialect() any
	// WriteStored writes or queues a stored message. It returns false if the
	// session does not accept it and is ending; it is never dropped silently.
	WriteStored(f Frame) bool
	// WriteLive writes a live message that was held, by the policy of the message,
	// and reports whether it was written or queued.
	WriteLive(f Frame) bool
	// DropLive is called instead of WriteLive for a message that was held when the
	// session ended.
	DropLive(f Frame)
	// Ping sends a ping in the class of messages: whatever drops the messages in
	// front of it from the outbound queue drops the ping as well. It returns false
	// if the session is ending. payload is borrowed.
	Ping(payload []byte) bool
	// EndHold says that live messages need no longer be offered to Service.Hold.
	EndHold()
	// Fail ends the session because of a panic, or of a message that cannot be
	// encoded (ErrEncode).
	Fail(err error)
}

// Marker is a Receiver whose client is told its positions in all streams, as one value that
// it names when it connects again.
type Marker interface {
	// WriteMarked is WriteStored for a message that carries the positions that the client
	// has once it has received it. f is nil for the positions alone.
	WriteMarked(f Frame, at Positions) bool
}

// Positions are where the streams of a session are. It is valid during the call.
type Positions interface {
	// AppendPositions appends a position for each stream for which one is known.
	AppendPositions(to []Position) []Position
}

// Position is the last offset in a stream that a session was sent.
type Position struct {
	Topic  string // empty: the inbox
	Epoch  string
	Offset uint64
}

// Frame is an encoded message, opaque to this package.
type Frame interface {
	// Len is the number of bytes it adds to the outbound queue at most.
	Len() int
}

// Phase of a receiver.
type Phase uint8

// The phases.
const (
	Opening Phase = iota // the handshake is not answered
	Open                 // messages may be written
	Ended                // the session is closing or closed
)

// AckMode says how a receiver acknowledges stored messages.
type AckMode uint8

// The modes.
const (
	AckByPong   AckMode = iota // a pong acknowledges what preceded its ping
	AckExplicit                // the client calls Ack; pongs only open the window
	AckNone                    // never; every session gets all unread messages again
	// AckByResume: by the position that a client names when it connects again. The
	// Receiver is a Marker, too.
	AckByResume
)

// Begin says where a stream begins for a client.
type Begin struct {
	Box    store.Box
	Epoch  string
	Offset uint64 // the client gets what follows this offset
	Gap    bool   // messages after the start that the client asked for are missing
	// Unknown: a live message is due and the store has not answered yet. Epoch and
	// Offset are empty, and a second Begin follows when they are known.
	Unknown bool
}

// Message is a stored message for one receiver.
type Message struct {
	Box    store.Box
	Epoch  string
	Offset uint64
	Gap    bool // messages between the preceding one and this are missing
	// Either Stored, from the store, or Shared, from the Notice.
	Stored *store.Message
	Shared any
}

// Start is a place from which a client wants to resume. The zero value starts at
// the position that the user has acknowledged.
type Start struct {
	Resume bool // Epoch and Offset are given
	// Rewind, unless it is 0, starts at the last so many messages of a topic, and earlier if
	// more were stored since the subscribe. It is used without Resume.
	Rewind uint16 `json:",omitzero"` // here, where it takes no room
	Epoch  string
	Offset uint64
}

// Subscription is one durable topic of a session.
type Subscription struct {
	Topic string
	Start Start
	// Remember stores the position of a first-time subscriber at once, so that a
	// later session of the user continues there. Otherwise it is stored with the
	// first message, and a client that names topics at random stores nothing.
	Remember bool
	// Exempt: the client cannot have chosen the name of the topic, and so the position
	// does not count for Config.PositionsPerUser and PositionsPerAddress.
	Exempt bool
	// Reader is the user whose position in the topic it is. Empty: the receiver's.
	Reader string
}
