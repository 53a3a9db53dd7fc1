// Package cluster connects the nodes of a cluster over NATS. It implements
// [server.Cluster]: it knows which node holds which user or topic, sends commands to
// those nodes, and collects their replies.
//
// # Contract
//
// [New] succeeds without a reachable NATS server; the node joins when one answers.
// Hold and Release never wait for the network, and Ask waits for replies only: one
// goroutine uses the connection and takes commands from a bounded queue. A command
// that does not fit into the queue, waits too long in it, or finds no connection is
// dropped, counted by reason in [Stats], logged, and reported by Ask as an error or
// in Answer.Missing and MissingNodes.
//
// A command reaches each connected node that holds the target at most once, and
// commands of one node to one target arrive in order. A command that NATS's
// max_payload does not allow travels in fragments; 32 MiB is the most.
//
// Commands are not stored. Messages that must not be lost are in a store, which a
// node reads when it may have missed an announcement: Node.Missed is called after the
// connection broke, when a node that was partitioned comes back, when its numbered
// beats show a loss, and when this node was too slow. Commands of VerbStored that
// were dropped are sent once more without the message.
//
// [Cluster.Sync] describes how a node proves that its interest has reached the other
// servers of a NATS cluster.
//
// # Interest
//
// Users and topics are hashed into [Buckets] buckets each. A node subscribes to the
// subjects of the buckets in which it holds something, and NATS sends a command only
// there. Beats say which node holds which bucket: how many replies Ask waits for
// depends on them, delivery does not.
//
// # Security
//
// Nodes trust NATS. A program that can publish to fanfare.node.> can push to every
// user, close every session and list sessions with their addresses; one that can
// subscribe there reads all live messages. So use an account for the nodes alone,
// with credentials and TLS. A node publishes and subscribes to fanfare.node.> and
// needs no other permission. It validates every field of what it receives, and
// recovers from a panic in decoding or serving a message, so that a malformed message costs
// a count and a log line.
//
// # Locks
//
// All locks are leaves: none is held while another is acquired, or while the NATS
// client is called. Callers may hold locks of their own: package server holds
// interest.mu during Hold and Release of a topic.
//
// # Limitations
//
// Ask waits Config.Timeout for a node that has died, until no beat of that node has
// arrived for 3.5 s. A command to every node and a command to a user or topic may be served in
// another order than they were sent. Live commands that were in the buffers of a
// broken connection are lost; the Ask reports the nodes as missing. Nodes of another
// protocol version do not see each other. Node.Serve runs for one command to a user
// or topic at a time.
package cluster
