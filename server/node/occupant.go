package node

// Occupant is a topic with subscribers, as the nodes of a cluster know it together. With a Member
// it is one who subscribes to the topic, and Info is what is known of the member: a member of whom
// nodes know different things is several occupants.
type Occupant struct {
	Topic        string
	Member, Info string // Member has no line feed
}

// OccupantChange says that an occupant has come to the cluster, or has left it with the last node
// that held it.
type OccupantChange struct {
	Occupant
	Present bool
}

// MaxOccupantInfo bounds Occupant.Info, in bytes.
const MaxOccupantInfo = 64 << 10

// Occupancy shares occupants with the other nodes. presence.Service is one.
type Occupancy interface {
	// Occupy records that this node has begun or ceased to hold an occupant. It never waits.
	Occupy(o Occupant, held bool)
	// ServeOccupants sets what is told of changes. It is called once.
	ServeOccupants(OccupantObserver)
	// Current reports whether changes of other nodes arrive. If not, what this node knows of them
	// may be outdated.
	Current() bool
}

// OccupantObserver is told which occupants the cluster has.
type OccupantObserver interface {
	// FollowOccupants is called on every node, by one goroutine, with the changes of occupants that
	// have a Member, in an order that all nodes share. whole says that the changes are all occupants
	// there are: what they do not name has left.
	FollowOccupants(changes []OccupantChange, whole bool)
	// LeadOccupants is called on the node that leads, before its first ReportOccupants, with what
	// was reported as present. The same goroutine calls both.
	LeadOccupants(present []Occupant)
	// ReportOccupants gets each change once in the cluster, and again if the node that had it
	// ended at that moment.
	ReportOccupants(changes []OccupantChange)
	// NodeGone is called on every node after another one has ended, or was silent for too long. It
	// does not wait.
	NodeGone()
}

// MemberChange says that a user has joined or left a presence topic, with the first or the last
// session that subscribes to it.
type MemberChange struct {
	Topic, User string
	Present     bool
}
