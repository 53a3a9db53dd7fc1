package presence

import (
	"encoding/binary"
	"errors"
)

// MessageKind says what a Message is for.
type MessageKind byte

const (
	// Lead is sent by the leader to all with each tick: Term, Round. With Round 0 it is an
	// announcement that the first one will follow.
	Lead MessageKind = 1 + iota
	// Beat is an answer to Lead, and a sign of life: Term, Session, Round.
	Beat
	// Part is what a member holds, or how it changed: Term, Session, Number, Last, Items.
	Part
	// Ack acknowledges a part: Term, Session, Number.
	Ack
	// Want asks for all that a member holds, because a session is not known: Term, Session.
	Want
	// Resign says that the leader ends: Term.
	Resign
	// Bye says that a member ends, which holds nothing any more.
	Bye
)

// Message is what one node sends to another one or to all.
type Message struct {
	Kind    MessageKind
	Term    uint64 // of the leader
	Session uint64 // counts the times that a member has sent all that it holds
	Number  uint64 // of a part, from 0 in each session
	Round   uint64
	Last    bool // the member has sent all that it held at the begin of the session
	Items   []Item
}

// Item is a name that a member has begun or ceased to hold.
type Item struct {
	Name Name
	Held bool
}

const messageVersion = 1

// Encode returns the message as bytes.
func (m *Message) Encode() []byte {
	b := append(make([]byte, 0, 64), messageVersion, byte(m.Kind))
	for _, n := range []uint64{m.Term, m.Session, m.Number, m.Round} {
		b = binary.AppendUvarint(b, n)
	}
	b = append(b, bit(m.Last))
	for _, it := range m.Items {
		b = binary.AppendUvarint(append(b, bit(it.Held)), uint64(len(it.Name)))
		b = append(b, it.Name...)
	}
	return b
}

func bit(v bool) byte {
	if v {
		return 1
	}
	return 0
}

var errMessage = errors.New("presence: malformed message, or one of another version")

// Decode is the inverse of Encode.
func Decode(b []byte) (m Message, err error) {
	if len(b) < 3 || b[0] != messageVersion || b[1] < byte(Lead) || b[1] > byte(Bye) {
		return m, errMessage
	}
	m.Kind, b = MessageKind(b[1]), b[2:]
	for _, to := range []*uint64{&m.Term, &m.Session, &m.Number, &m.Round} {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return m, errMessage
		}
		*to, b = v, b[n:]
	}
	if len(b) == 0 || b[0] > 1 {
		return m, errMessage
	}
	m.Last, b = b[0] == 1, b[1:]
	for len(b) > 0 {
		if b[0] > 1 {
			return m, errMessage
		}
		size, n := binary.Uvarint(b[1:])
		if n <= 0 || size > uint64(len(b)-1-n) {
			return m, errMessage
		}
		it := Item{Name(b[1+n : 1+n+int(size)]), b[0] == 1}
		if !it.Name.valid() {
			return m, errMessage
		}
		m.Items, b = append(m.Items, it), b[1+n+int(size):]
	}
	return m, nil
}
