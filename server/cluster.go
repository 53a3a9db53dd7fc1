package server

import (
	"context"
	"fmt"
	"sync"
	"time"

	"fanfare/server/node"
)

// The contract with the other nodes of a cluster is in package node.
type (
	// Cluster connects this process to the other nodes of a cluster.
	Cluster = node.Cluster
	// Node is what a Cluster serves: the server of this process.
	Node = node.Node
	// Target names whose sessions a command concerns.
	Target = node.Target
	// Verb says what a Command asks for.
	Verb = node.Verb
	// Command is what one node asks of others.
	Command = node.Command
	// Reply is what one node answers to a command.
	Reply = node.Reply
	// Answer is what the other nodes answered together.
	Answer = node.Answer
	// SessionInfo describes one session.
	SessionInfo = node.SessionInfo
	// Coverage says whether the other nodes of a cluster took part.
	Coverage = node.Coverage
)

// The verbs, with the fields of Command they use.
const (
	VerbPush        = node.VerbPush        // User, Op, Payload
	VerbPublish     = node.VerbPublish     // Topic, Op, Payload, Except
	VerbBroadcast   = node.VerbBroadcast   // Op, Payload
	VerbPushMany    = node.VerbPushMany    // Users, Topics, Op, Payload
	VerbStored      = node.VerbStored      // User or Topic, Epoch, Offset, Prev; Op and Payload unless Op is 0
	VerbClose       = node.VerbClose       // User, Code, Reason
	VerbSessions    = node.VerbSessions    // User or Topic; Reply.Sessions
	VerbSubscribers = node.VerbSubscribers // Topic
	VerbSubscribe   = node.VerbSubscribe   // User, Topic
	VerbUnsubscribe = node.VerbUnsubscribe // User, Topic
	VerbRefresh     = node.VerbRefresh     // User; Op is Text, Payload an IdentityChange in JSON
	VerbRevoke      = node.VerbRevoke      // Op is Text, Payload what revoke.Entry.Encode returns
	VerbUnrevoke    = node.VerbUnrevoke    // Op is Text, Payload the ID of an entry
	VerbDeliver     = node.VerbDeliver     // Audience, Op, Payload
	VerbPaced       = node.VerbPaced       // Audience, ID, Key, Over, Op, Payload; Reply.Paced
	VerbPacedList   = node.VerbPacedList   // ID, empty: all; Reply.Paced
	VerbPacedCancel = node.VerbPacedCancel // ID; Reply.Paced
)

// MaxMissingNodes bounds Coverage.MissingNodes.
const MaxMissingNodes = node.MaxMissingNodes

// Errors that a Cluster returns, wrapped with details.
var (
	// ErrUnreachable: the connection to the other nodes is down, or its queue is full
	// and the command was dropped.
	ErrUnreachable = node.ErrUnreachable
	// ErrInvalidCommand: a field has a value that its verb does not allow, such as
	// text that is not UTF-8.
	ErrInvalidCommand = node.ErrInvalidCommand
)

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
		return n + node.Count(answer), answer, nil
	}
	there := make(chan Answer, 1)
	go func() { there <- srv.ask(ctx, t, c) }()
	n := local()
	answer := <-there
	return n + node.Count(answer), answer, nil
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
		if r.Error != "" && r.Error != node.TooManyTopics {
			answer.Missing++
			if r.Node != "" {
				answer.MissingNodes = append(answer.MissingNodes, r.Node)
			}
		}
	}
	answer.Coverage = node.Tidy(answer.Coverage)
	return answer
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
