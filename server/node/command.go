package node

import (
	"time"

	"github.com/gobwas/ws"

	"fanfare/frame"
)

// Op is the kind of a message, ws.OpText or ws.OpBinary.
type Op = ws.OpCode

// Code is a close code, RFC 6455 section 7.4.
type Code = frame.StatusCode

// Target names whose sessions a command concerns: one user, one topic, or, if it
// is the zero value, every session of every node.
type Target struct{ User, Topic string }

// Verb says what a Command asks for.
type Verb uint8

// The verbs, with the fields of Command they use.
const (
	VerbPush        Verb = 1 + iota // User, Op, Payload
	VerbPublish                     // Topic, Op, Payload, Except
	VerbBroadcast                   // Op, Payload
	VerbPushMany                    // Users, Topics, Op, Payload
	VerbStored                      // User or Topic, Epoch, Offset, Prev; Op and Payload unless Op is 0
	VerbClose                       // User, Code, Reason
	VerbSessions                    // User or Topic; Reply.Sessions
	VerbSubscribers                 // Topic
	VerbSubscribe                   // User, Topic
	VerbUnsubscribe                 // User, Topic
	VerbRefresh                     // User; Op is Text, Payload an IdentityChange in JSON
	VerbRevoke                      // Op is Text, Payload what revoke.Entry.Encode returns
	VerbUnrevoke                    // Op is Text, Payload the ID of an entry
	VerbDeliver                     // Audience, Op, Payload, Conflate, Interval, Receipt
	VerbPaced                       // Audience, ID, Key, Over, Op, Payload, Conflate, Interval, Receipt; Reply.Paced
	VerbPacedList                   // ID, empty: all; Reply.Paced
	VerbPacedCancel                 // ID; Reply.Paced
	VerbPresence                    // Users; Reply.Users
	VerbTopicUsers                  // Topic, After, Limit; Reply.Users
	VerbDescribe                    // Reply.About
	VerbReceipt                     // ID; Reply.Receipt
	VerbMembers                     // Topic; Op is Text, Payload a presence message in JSON
	VerbInquire                     // Op is Text, Payload an operate.Question in JSON that changes nothing; Reply.Data
	VerbOperate                     // likewise, but it does change something
)

// Command is what one node asks of others.
type Command struct {
	Verb          Verb
	Op            Op // Text or Binary; 0: VerbStored without the message
	User, Topic   string
	Users, Topics []string
	Epoch         string // that Offset and Prev belong to
	Offset, Prev  uint64
	Code          Code
	Reason        string
	Except        string // SessionInfo.ID of a session that is left out
	Payload       []byte
	Audience      Audience      `json:",omitzero"`
	ID, Key       string        // of a paced broadcast
	Over          time.Duration `json:"-"` // of Pace; a handover carries no paced broadcast
	After         string        // a user, which a page follows; empty: the first page
	Limit         int           // users of a page
	Conflate      string        `json:",omitzero"` // an option of the message
	Interval      Interval      `json:",omitzero"` // another; 0: none
	Receipt       string        `json:",omitzero"` // another: the ID of its receipt
}

// Reply is what one node answers to a command.
type Reply struct {
	// Node is the name of the node. The Cluster of the node that asked sets it.
	Node string
	// Count is the number of sessions concerned.
	Count int
	// Sessions answers VerbSessions.
	Sessions []SessionInfo
	// Paced answers the verbs of paced broadcasts.
	Paced []PacedBroadcast
	// Users answers VerbPresence and VerbTopicUsers: users with a session, sorted.
	Users []UserSessions
	// About answers VerbDescribe, with the number of sessions in Count.
	About Description
	// Receipt answers VerbReceipt; nil: the node does not know it.
	Receipt *Receipt
	// Data answers VerbInquire and VerbOperate: an operate.Answer in JSON of each process.
	Data [][]byte
	// Error says why the node could not do it; empty: it did.
	Error string
}
