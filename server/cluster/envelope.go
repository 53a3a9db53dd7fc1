package cluster

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// version is raised when nodes of both versions cannot work together. A node drops
// messages of other versions, counts them, and logs that.
const version = 2

// kind of a message between nodes.
type kind byte

const (
	kindCommand  kind = 'c' // ask number, command
	kindReply    kind = 'r' // ask number, reply
	kindWorking  kind = 'w' // ask number: the reply takes longer
	kindFragment kind = 'f' // message number, index, count, part of a message
	kindBeat     kind = 'b' // state of the sender, see beat
	kindBye      kind = 'x' // the sender ends
	kindProbe    kind = 'p' // round: an echo is wanted
	kindEcho     kind = 'e' // round
	kindLinked   kind = 'l' // node: its commands reach the sender from now on
)

// nodeID identifies a node while it runs.
type nodeID [8]byte

func (id nodeID) String() string { return hex.EncodeToString(id[:]) }

// headerSize of every message: version, kind, sender.
const headerSize = 2 + len(nodeID{})

func appendHeader(b []byte, k kind, from nodeID) []byte {
	return append(append(b, version, byte(k)), from[:]...)
}

// envelope is a message whose header has been read.
type envelope struct {
	kind kind
	from nodeID
	body []byte
}

// versionError is the error for a message of another version.
type versionError byte

func (v versionError) Error() string {
	return fmt.Sprintf("message of protocol version %d: this node speaks %d", byte(v), version)
}

func open(b []byte) (e envelope, err error) {
	if len(b) > 0 && b[0] != version {
		return e, versionError(b[0])
	}
	if len(b) < headerSize {
		return e, errTruncated
	}
	e.kind, e.body = kind(b[1]), b[headerSize:]
	copy(e.from[:], b[2:headerSize])
	return e, nil
}

// Subjects. Everything that a node publishes or subscribes to is in fanfare.node.>,
// which is what the permissions of an account have to allow.
const (
	prefix         = "fanfare.node."
	everySubject   = prefix + "every" // commands to every node
	controlSubject = prefix + "control"
)

// replySubject is where a node receives the replies to its commands.
func replySubject(id nodeID) string { return prefix + "reply." + id.String() }

// markSubject is where a node receives the echoes of one probe.
func markSubject(id nodeID, round uint64) string {
	return fmt.Sprintf("%smark.%s.%d", prefix, id, round)
}

// appendNumbers appends uvarints.
func appendNumbers(b []byte, numbers ...uint64) []byte {
	for _, n := range numbers {
		b = binary.AppendUvarint(b, n)
	}
	return b
}
