package node

import (
	"context"
	"errors"
)

// Errors that a Cluster returns, wrapped with details.
var (
	// ErrUnreachable: the connection to the other nodes is down, or its queue is full
	// and the command was dropped.
	ErrUnreachable = errors.New("server: other nodes unreachable")
	// ErrInvalidCommand: a field has a value that its verb does not allow, such as
	// text that is not UTF-8.
	ErrInvalidCommand = errors.New("server: invalid command")
)

// Cluster connects this process to the other nodes of a cluster. Package cluster
// implements it over NATS. Without one the server is alone.
//
// Hold and Release never wait. Ask waits for replies, but never for the network to
// accept the command. So a cluster that cannot reach the others costs local sessions
// nothing.
type Cluster interface {
	// Join starts serving the commands of other nodes with n. It is called once,
	// before any other method.
	Join(n Node) error
	// Hold adds one to the interest in a user or topic, and Release takes one away.
	// Commands for a target reach the nodes whose interest is not zero. Both may be
	// called with a lock of the server held, and must not call the Node.
	Hold(t Target)
	Release(t Target)
	// Sync returns nil when commands that other nodes send from now on reach this
	// node, if it holds the target. If a node does not confirm this in time or joins
	// later, or the connection breaks, the Cluster calls Node.Missed when commands
	// arrive again, unless the other node repeats those that may be lost. An error says
	// that the connection is down or that ctx ended.
	Sync(ctx context.Context, t Target) error
	// Check returns the error of Ask that depends on the command alone: ErrTooBig
	// or ErrInvalidCommand.
	Check(c *Command) error
	// Ask sends a command to the other nodes that hold a target and collects
	// their replies. The error says that the command was not sent: ErrTooBig,
	// ErrUnreachable, ErrInvalidCommand. Answer.Missing is then the number of
	// nodes that did not get it, as far as they are known. Answer.MissingNodes may
	// have any number of names, in any order. A Reason that does not fit into a
	// close frame is cut. Ask keeps nothing of c.
	Ask(ctx context.Context, t Target, c *Command) (Answer, error)
	// Shared reports whether another node is known to hold the target.
	Shared(t Target) bool
	// Name of this node and number of live nodes, this one included.
	Name() string
	Nodes() int
	// Ready returns nil while the other nodes can be reached, else the reason.
	Ready() error
	// Leave announces the end of this node and stops serving.
	Leave()
}

// Node is what a Cluster serves: the server of this process.
type Node interface {
	// Serve executes a command of another node on the sessions of this one. It may
	// be called by two goroutines at once: one for commands to a user or topic,
	// one for commands to every node. The Cluster has checked that the command is
	// one that Ask accepts, but it may come from a node of another version or from
	// any program with access to NATS. Serve may keep c and its payload. A panic
	// is recovered, logged and counted.
	Serve(c *Command) Reply
	// Missed is called when commands of other nodes may have been lost. Calls do
	// not overlap.
	Missed()
}
