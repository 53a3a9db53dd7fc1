// Package presence reports, for all nodes of a cluster together, which users are online,
// which topics are occupied, and which users subscribe to presence topics: once, in order, and also for a node that was killed.
//
// A [Service] is a server.Observer. It keeps the events UserOnline, UserOffline, TopicOccupied
// and TopicVacated of its node, and passes all others on. One node leads: it knows what all
// nodes hold, and gives the events of the cluster to its [Reporter], such as a
// webhook.Service.
//
// MemberJoined and MemberLeft, of presence topics, go the same way, and the node that leads gives
// what concerns the cluster to its [Members], the server.Server, which sends messages to subscribers.
//
// A Service is a node.Occupancy, too: it shares the members of channels that a dialect such as package
// pusher has. Every node follows those in the journal, and the one that leads reports them.
//
// # Contract
//
// Observe never waits. The events of one user or topic alternate, and what was reported last
// is the truth, whatever nodes are killed, cut off, stopped or started, as soon as the rest
// can reach NATS. An event that is reported again, because it is not known whether it was,
// has the same identifier.
//
// A node that is silent for 3 s has no users: those of a killed node, and of one that cannot
// reach NATS although its sessions are open. The grace period of its users began when it was
// heard of last. A user who has reconnected to another node within it never was offline. If
// the node comes back within it, nothing is reported. Clocks of nodes are not compared.
//
// Package internal/presence has the rules, and a model that tests them.
//
// # Storage
//
// The stream FANFARE_PRESENCE in NATS has one message for each user and topic, with what was
// reported last, and one that says which node leads. A write names the sequence that it
// follows, so a node that was replaced cannot write. The leader writes one message for each
// event. LastSeen reads there when users had a session last. It has about 150 bytes of memory
// for each user who is online in the cluster, the other nodes about 60 for each of their own.
// Every node keeps the occupants with a member of all nodes.
//
// # Limitations
//
// After the first node of a cluster has started, 3 s pass before anything is reported, and so
// after a leader was killed. What a leader that is killed had gathered for Members within the last
// 100 ms is lost, like a live message. The queue of a node's other events is its own: the order of
// session.opened and user.online is not kept in a cluster. A node of a version that does not know
// occupants rejects what names them: no node may have any before all are of a version that does.
package presence
