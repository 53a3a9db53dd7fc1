package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
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
	VerbDeliver                     // Audience, Op, Payload
	VerbPaced                       // Audience, ID, Key, Over, Op, Payload; Reply.Paced
	VerbPacedList                   // ID, empty: all; Reply.Paced
	VerbPacedCancel                 // ID; Reply.Paced
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
	// Error says why the node could not do it; empty: it did.
	Error string
}

// Answer is what the other nodes answered together.
type Answer struct {
	Replies []Reply
	Coverage
}

// SessionInfo describes one session.
type SessionInfo struct {
	ID          string    `json:"id"`             // unique in the cluster
	Node        string    `json:"node,omitempty"` // empty without a cluster
	User        string    `json:"user"`
	RemoteAddr  string    `json:"remote_addr"` // empty for a Unix socket
	Opened      time.Time `json:"opened"`
	Topics      []string  `json:"topics"`
	QueuedBytes int       `json:"queued_bytes"`
	Protocol    string    `json:"protocol"`
	// ContentType is the media type of a Stream, empty for WebSocket.
	ContentType string `json:"content_type,omitempty"`
}

// MaxMissingNodes bounds Coverage.MissingNodes.
const MaxMissingNodes = 8

// Coverage says whether the other nodes of a cluster took part.
type Coverage struct {
	// Missing is the number of nodes that were expected to answer and did not in
	// time, or answered that they could not do it.
	Missing int
	// MissingNodes has the names of these nodes, sorted, at most MaxMissingNodes.
	// It is shorter than Missing if there are more, or if nodes share a name.
	MissingNodes []string
	// Unreachable is why other nodes could not be asked; nil: they could. Nodes
	// that were not heard of for 3.5 s are then not known, and not in Missing.
	Unreachable error
}

// Complete reports whether every node has answered.
func (c Coverage) Complete() bool { return c.Missing == 0 && c.Unreachable == nil }

// Merge returns the coverage of two calls together. A node that is missing in both
// counts once, as far as its name is known.
func (c Coverage) Merge(d Coverage) Coverage {
	if c.Unreachable == nil {
		c.Unreachable = d.Unreachable
	}
	c.Missing = max(c.Missing, d.Missing)
	c.MissingNodes = slices.Concat(c.MissingNodes, d.MissingNodes)
	return c.tidy()
}

// tidy returns c with its names sorted, each once, and no more than allowed.
func (c Coverage) tidy() Coverage {
	if len(c.MissingNodes) == 0 {
		return c
	}
	names := slices.Compact(slices.Sorted(slices.Values(c.MissingNodes)))
	c.Missing = max(c.Missing, len(names))
	c.MissingNodes = slices.Clip(names[:min(len(names), MaxMissingNodes)])
	return c
}

// onAllNodes does something on this node, and has the other nodes that hold the
// target do it at the same time. It returns the sum of the counts. An error says
// that nothing was done anywhere.
func (srv *Server) onAllNodes(ctx context.Context, t Target, c *Command, local func() int) (int, Answer, error) {
	cl := srv.cluster
	if cl == nil {
		return local(), Answer{}, nil
	}
	if err := cl.Check(c); err != nil {
		return 0, Answer{}, err
	}
	if !cl.Shared(t) {
		// Nodes that this one has not heard of yet get the command all the same;
		// none answers.
		answer := srv.ask(ctx, t, c)
		n := local()
		return n + answer.count(), answer, nil
	}
	there := make(chan Answer, 1)
	go func() { there <- srv.ask(ctx, t, c) }()
	n := local()
	answer := <-there
	return n + answer.count(), answer, nil
}

// ask is Cluster.Ask for a command that Check accepts. After a panic, in the evaluation of
// the answer, the other nodes count as unreachable.
func (srv *Server) ask(ctx context.Context, t Target, c *Command) (answer Answer) {
	defer func() {
		if v := recover(); v != nil {
			srv.panicked("answer of the cluster", v)
			answer = Answer{}
			answer.Unreachable = fmt.Errorf("%w: panic in the answer of the cluster: %v", ErrUnreachable, v)
		}
	}()
	answer, err := srv.cluster.Ask(ctx, t, c)
	answer.Unreachable = err
	for _, r := range answer.Replies {
		if r.Error != "" && r.Error != errTooManyTopics {
			answer.Missing++
			if r.Node != "" {
				answer.MissingNodes = append(answer.MissingNodes, r.Node)
			}
		}
	}
	answer.Coverage = answer.tidy()
	return answer
}

// count is the number of sessions that the other nodes have reported.
func (a Answer) count() (n int) {
	for _, r := range a.Replies {
		n += r.Count
	}
	return n
}

// interest is the set of topics for which this node wants the commands of others. The
// Cluster counts users, one Hold for each session. A topic is held once: sessions end
// in too many ways to count their subscriptions, so reviewTopics finds the topics that
// have no subscriber any more.
type interest struct {
	// mu is held across Cluster.Hold and Release, which never wait, and across a lookup in
	// the registry, so that a topic that gets its first subscriber during a review is held:
	// interest.mu → the Cluster's locks, registry locks.
	mu     sync.Mutex
	topics map[string]struct{} // held; guarded by mu
}

// reviewInterval is how often topics without subscribers are looked for.
const reviewInterval = 10 * time.Second

func (srv *Server) holdUser(user string) {
	if cl := srv.cluster; cl != nil && user != "" {
		cl.Hold(Target{User: user})
	}
}

func (srv *Server) releaseUser(user string) {
	if cl := srv.cluster; cl != nil && user != "" {
		cl.Release(Target{User: user})
	}
}

// holdTopic is called after a session has subscribed.
func (srv *Server) holdTopic(topic string) {
	cl := srv.cluster
	if cl == nil {
		return
	}
	in := &srv.interest
	in.mu.Lock()
	defer in.mu.Unlock()
	if _, held := in.topics[topic]; !held {
		in.topics[topic] = struct{}{}
		cl.Hold(Target{Topic: topic})
	}
}

// reviewTopics is the goroutine that releases topics without subscribers.
func (srv *Server) reviewTopics() {
	ticker := time.NewTicker(reviewInterval)
	defer ticker.Stop()
	for {
		select {
		case <-srv.quit.Done():
			return
		case <-ticker.C:
			srv.releaseTopics()
		}
	}
}

func (srv *Server) releaseTopics() {
	in := &srv.interest
	in.mu.Lock()
	defer in.mu.Unlock()
	for topic := range in.topics {
		// A session subscribes before it calls holdTopic, so one that is missed
		// here holds the topic again.
		if srv.users.TopicSessions(topic) == 0 {
			delete(in.topics, topic)
			srv.cluster.Release(Target{Topic: topic})
		}
	}
}
