package server

import (
	"encoding/binary"
	"errors"

	"fanfare/frame"
)

// order is what one node asks of others. On the wire: a version, the verb, and by
// uvarints the numbers, and the names and the payload with their lengths.
type order struct {
	verb         verb
	op           Op
	offset, prev uint64
	user, topic  string
	payload      []byte // of a message; of verbSeveral and verbKick: JSON
}

type verb byte

const (
	verbPush verb = 1 + iota
	verbPublish
	verbBroadcast
	verbSeveral // payload follows the names in JSON
	verbStored
	verbKick
	verbConnections
	verbFollowers
	verbFollow
	verbUnfollow
)

// orderVersion is raised when nodes of both kinds cannot work together. Nodes drop
// what has another one.
const orderVersion = 1

func (o *order) encode() []byte {
	b := make([]byte, 0, 3+2*binary.MaxVarintLen64+6+len(o.user)+len(o.topic)+len(o.payload))
	b = append(b, orderVersion, byte(o.verb), byte(o.op))
	b = binary.AppendUvarint(b, o.offset)
	b = binary.AppendUvarint(b, o.prev)
	for _, name := range []string{o.user, o.topic} {
		b = append(binary.AppendUvarint(b, uint64(len(name))), name...)
	}
	return append(b, o.payload...)
}

var errOrder = errors.New("server: malformed message of another node")

func (o *order) decode(b []byte) error {
	if len(b) < 3 || b[0] != orderVersion {
		return errOrder
	}
	o.verb, o.op, b = verb(b[1]), Op(b[2]), b[3:]
	ok := true
	number := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			ok = false
			return 0
		}
		b = b[n:]
		return v
	}
	name := func() string {
		n := number()
		if !ok || n > uint64(len(b)) {
			ok = false
			return ""
		}
		s := string(b[:n])
		b = b[n:]
		return s
	}
	o.offset, o.prev = number(), number()
	o.user, o.topic = name(), name()
	if o.payload = b; !ok {
		return errOrder
	}
	return nil
}

// message is the payload as a frame. It copies.
func (o *order) message() *frame.Prepared { return frame.Prepare(o.op, o.payload) }
