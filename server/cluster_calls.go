package server

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"fanfare/frame"
	"fanfare/registry"
	"fanfare/server/store"
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

// node is the server as the other nodes of its cluster see it.
type node struct{ srv *Server }

// Missed makes all sessions look for stored messages that other nodes could not
// announce.
func (n node) Missed() {
	if n.srv.replay != nil {
		n.srv.replay.Recheck()
	}
}

// Serve executes a command of another node. It waits for nothing except the walk of
// a broadcast over all sessions. The command is checked again although package cluster
// has done so: what is sent to clients must be right whatever implements Cluster.
func (n node) Serve(c *Command) (r Reply) {
	srv := n.srv
	defer func() {
		if v := recover(); v != nil {
			srv.panicked("command of another node", v)
			r = Reply{Error: "internal error"}
		}
	}()
	if err := srv.check(c); err != nil {
		return Reply{Error: err.Error()}
	}
	switch c.Verb {
	case VerbPush:
		r.Count = srv.pushLocal(c.User, NewMessage(c.Op, c.Payload))
	case VerbPublish:
		r.Count = srv.publishLocal(c.Topic, NewMessage(c.Op, c.Payload), srv.subscriber(c.Topic, c.Except))
	case VerbBroadcast:
		r.Count = srv.broadcastLocal(NewMessage(c.Op, c.Payload))
	case VerbPushMany:
		r.Count = srv.pushManyLocal(c.Users, c.Topics, NewMessage(c.Op, c.Payload))
	case VerbStored:
		if srv.replay == nil {
			return Reply{Error: "this node has no store"}
		}
		box := store.Box{User: c.User, Topic: c.Topic}
		epoch := srv.store.Epoch(box)
		var m *Message
		if c.Op != 0 && epoch != "" { // else sessions read it when the store is back
			m = NewMessage(c.Op, c.Payload)
			m.setPosition(box, epoch, c.Offset)
		}
		r.Count = srv.announce(box, epoch, c.Offset, c.Prev, m, srv.now())
	case VerbClose:
		r.Count = srv.disconnectLocal(c.User, c.Code, c.Reason)
	case VerbSessions:
		r.Sessions = srv.sessionsLocal(Target{c.User, c.Topic})
		r.Count = len(r.Sessions)
	case VerbSubscribers:
		r.Count = srv.users.TopicSessions(c.Topic)
	case VerbSubscribe:
		var err error
		if r.Count, err = srv.subscribeLocal(c.User, c.Topic); err != nil {
			r.Error = errTooManyTopics
		}
	case VerbUnsubscribe:
		r.Count = srv.unsubscribeLocal(c.User, c.Topic)
	}
	return r
}

// subscriber returns the session of this node that has the ID of a SessionInfo, nil if it
// has none or does not subscribe to the topic.
func (srv *Server) subscriber(topic, id string) *Session {
	if id == "" || srv.cluster == nil || !strings.HasPrefix(id, srv.cluster.Name()+"/") {
		return nil
	}
	for _, s := range srv.users.AppendTopic(nil, topic) {
		if s.fullID() == id {
			return s
		}
	}
	return nil
}

// errTooManyTopics is Reply.Error for registry.ErrTooManyTopics.
const errTooManyTopics = "too many topics"

// check returns what is wrong with a command, whose fields may hold anything.
func (srv *Server) check(c *Command) error {
	if err := c.checkNames(); err != nil {
		return err
	}
	switch c.Verb {
	case VerbPush, VerbPublish, VerbBroadcast, VerbPushMany:
		return srv.checkPayload(c)
	case VerbStored:
		switch {
		case c.Topic != "" && !srv.Durable(c.Topic):
			return fmt.Errorf("topic %q is not durable on this node", c.Topic)
		case c.Offset == 0 || c.Offset > math.MaxInt64 || c.Prev >= c.Offset:
			return fmt.Errorf("invalid offset %d after %d", c.Offset, c.Prev)
		case c.Op == 0: // the message is read from the store
			return nil
		}
		return srv.checkPayload(c)
	case VerbClose:
		if !frame.CloseCodeAllowed(c.Code) {
			return fmt.Errorf("invalid close code %d", c.Code)
		}
		if len(c.Reason) > MaxCloseReason || !utf8.ValidString(c.Reason) {
			return errors.New("invalid close reason")
		}
	}
	return nil
}

func (srv *Server) checkPayload(c *Command) error {
	switch {
	case c.Op != Text && c.Op != Binary:
		return fmt.Errorf("invalid opcode %d", c.Op)
	case len(c.Payload) > srv.cfg.MaxPayload:
		return fmt.Errorf("%d bytes, this node's MaxPayload is %d", len(c.Payload), srv.cfg.MaxPayload)
	case c.Op == Text && !utf8.Valid(c.Payload): // RFC 6455, 8.1
		return errors.New("text is not UTF-8")
	}
	return nil
}

// checkNames checks that the names that the verb needs are there, and are valid.
func (c *Command) checkNames() error {
	user, topic := c.User != "", c.Topic != ""
	ok := false
	switch c.Verb {
	case VerbPush, VerbClose:
		ok = user
	case VerbPublish, VerbSubscribers:
		ok = topic
	case VerbSubscribe, VerbUnsubscribe:
		ok = user && topic
	case VerbStored, VerbSessions:
		ok = user != topic
	case VerbBroadcast, VerbPushMany:
		ok = true
	default:
		return fmt.Errorf("unknown verb %d", c.Verb)
	}
	if !ok {
		return fmt.Errorf("verb %d: user or topic is missing", c.Verb)
	}
	names := slices.Concat(c.Users, c.Topics)
	if user {
		names = append(names, c.User)
	}
	if topic {
		names = append(names, c.Topic)
	}
	for _, name := range names {
		if err := registry.CheckName(name); err != nil {
			return err
		}
	}
	return nil
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
