package server

import (
	"context"
	"encoding/json"
	"strconv"
	"sync"
	"time"

	"fanfare/frame"
	"fanfare/server/inbox"
)

// nodes are the other processes that share a NATS with this one. What the API is
// asked for is done here and by those of them whom it concerns.
type nodes struct {
	srv    *Server
	routes *inbox.Routes

	mu       sync.Mutex
	followed map[string]struct{} // topics that are held; guarded by mu
}

func (srv *Server) nodeCount() int {
	if srv.nodes == nil {
		return 1
	}
	return srv.nodes.routes.Nodes()
}

// reviewEvery is how often it is seen whether topics have followers still.
const reviewEvery = 10 * time.Second

func (srv *Server) join(store *inbox.Store) (err error) {
	n := &nodes{srv: srv, followed: make(map[string]struct{})}
	if n.routes, err = store.Join(n.serve); err != nil {
		return err
	}
	srv.nodes = n
	store.OnMissed(srv.unread.missed)
	srv.background.Go(n.review)
	return nil
}

// holdUser is called for each session that has a user, before it opens, and
// dropUser when it has ended.
func (n *nodes) holdUser(user string) {
	if n != nil {
		n.routes.Hold(inbox.ToUser(user))
	}
}

func (n *nodes) dropUser(user string) {
	if n != nil {
		n.routes.Drop(inbox.ToUser(user))
	}
}

// follow is called when a topic has a follower here, or more of them. That it has
// none any more is found out by review: sessions end in too many ways.
func (n *nodes) follow(topic string) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, held := n.followed[topic]; !held {
		n.followed[topic] = struct{}{}
		n.routes.Hold(inbox.ToTopic(topic))
	}
}

func (n *nodes) review() {
	ticker := time.NewTicker(reviewEvery)
	defer ticker.Stop()
	for {
		select {
		case <-n.srv.quit.Done():
			return
		case <-ticker.C:
			n.forget()
		}
	}
}

// forget the topics that nobody follows.
func (n *nodes) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for topic := range n.followed {
		// A session follows before it calls follow, so one that is missed here
		// holds the topic again.
		if n.srv.users.TopicSessions(topic) == 0 {
			delete(n.followed, topic)
			n.routes.Drop(inbox.ToTopic(topic))
		}
	}
}

// ask gives an order to the nodes that it concerns, and adds up what they answer.
func (n *nodes) ask(to inbox.To, o order) (sum int) {
	if n == nil {
		return 0
	}
	for _, answer := range n.routes.Ask(n.srv.quit, to, o.encode()) {
		if v, err := strconv.Atoi(string(answer)); err == nil {
			sum += v
		}
	}
	return sum
}

// serve does what another node asks for. It does not wait for anything but the
// walk of a broadcast.
func (n *nodes) serve(body []byte) []byte {
	var o order
	if err := o.decode(body); err != nil {
		n.srv.log.Debug("dropped", "err", err)
		return nil
	}
	srv, count := n.srv, 0
	switch o.verb {
	case verbPush:
		count = srv.PushPrepared(o.user, o.message())
	case verbPublish:
		count = srv.PublishPrepared(o.topic, o.message())
	case verbBroadcast:
		count = srv.BroadcastPrepared(o.message())
	case verbSeveral:
		var to receivers
		if size := int(o.offset); size <= len(o.payload) && json.Unmarshal(o.payload[:size], &to) == nil {
			count = srv.pushSeveral(to.Users, to.Topics, frame.Prepare(o.op, o.payload[size:]))
		}
	case verbStored:
		var message *frame.Prepared
		if o.op != 0 {
			message = o.message()
		}
		count = srv.unread.stored(o.user, o.topic, o.offset, o.prev, message)
	case verbKick:
		count = srv.Kick(o.user, Code(o.offset), string(o.payload))
	case verbFollowers:
		count = srv.Followers(o.topic)
	case verbFollow:
		count, _ = srv.SubscribeUser(o.user, o.topic)
	case verbUnfollow:
		count = srv.UnsubscribeUser(o.user, o.topic)
	case verbConnections:
		b, err := json.Marshal(srv.connectionsOf(o.user))
		if err != nil {
			panic("BUG: server: plain data makes no JSON: " + err.Error())
		}
		return b
	}
	return strconv.AppendInt(nil, int64(count), 10)
}

// receivers of one message.
type receivers struct{ Users, Topics []string }

// The following are what the API does: here, and on the other nodes. The others
// are asked first, so that they work while this one does.

func (srv *Server) pushEverywhere(user string, p *frame.Prepared) int {
	return srv.everywhere(inbox.ToUser(user), order{verb: verbPush, op: p.Op(), user: user, payload: p.Payload()},
		func() int { return srv.PushPrepared(user, p) })
}

func (srv *Server) publishEverywhere(topic string, p *frame.Prepared) int {
	return srv.everywhere(inbox.ToTopic(topic), order{verb: verbPublish, op: p.Op(), topic: topic, payload: p.Payload()},
		func() int { return srv.PublishPrepared(topic, p) })
}

func (srv *Server) broadcastEverywhere(p *frame.Prepared) int {
	return srv.everywhere(inbox.Everyone, order{verb: verbBroadcast, op: p.Op(), payload: p.Payload()},
		func() int { return srv.BroadcastPrepared(p) })
}

// pushSeveralEverywhere goes to all nodes: on each, a connection that is meant
// several times is to get the message once.
func (srv *Server) pushSeveralEverywhere(users, topics []string, p *frame.Prepared) int {
	here := func() int { return srv.pushSeveral(users, topics, p) }
	if srv.nodes == nil {
		return here()
	}
	names, err := json.Marshal(receivers{users, topics})
	if err != nil {
		panic("BUG: server: plain data makes no JSON: " + err.Error())
	}
	return srv.everywhere(inbox.Everyone, order{verb: verbSeveral, op: p.Op(), offset: uint64(len(names)), payload: append(names, p.Payload()...)}, here)
}

func (srv *Server) kickEverywhere(user string, code Code, reason string) int {
	return srv.everywhere(inbox.ToUser(user), order{verb: verbKick, user: user, offset: uint64(code), payload: []byte(reason)},
		func() int { return srv.Kick(user, code, reason) })
}

func (srv *Server) followersEverywhere(topic string) int {
	return srv.everywhere(inbox.ToTopic(topic), order{verb: verbFollowers, topic: topic},
		func() int { return srv.Followers(topic) })
}

func (srv *Server) unsubscribeEverywhere(user, topic string) int {
	return srv.everywhere(inbox.ToUser(user), order{verb: verbUnfollow, user: user, topic: topic},
		func() int { return srv.UnsubscribeUser(user, topic) })
}

func (srv *Server) subscribeEverywhere(user, topic string) (n int, err error) {
	n = srv.everywhere(inbox.ToUser(user), order{verb: verbFollow, user: user, topic: topic}, func() (here int) {
		here, err = srv.SubscribeUser(user, topic)
		return here
	})
	return n, err
}

// storedEverywhere brings a stored message to the connections of a user, or to the
// followers of a topic if that is empty. A nil frame sends them to the store.
func (srv *Server) storedEverywhere(user, topic string, offset, prev uint64, p *frame.Prepared) int {
	o, to := order{verb: verbStored, user: user, topic: topic, offset: offset, prev: prev}, inbox.ToUser(user)
	if user == "" {
		to = inbox.ToTopic(topic)
	}
	if p != nil {
		o.op, o.payload = p.Op(), p.Payload()
	}
	return srv.everywhere(to, o, func() int { return srv.unread.stored(user, topic, offset, prev, p) })
}

func (srv *Server) everywhere(to inbox.To, o order, here func() int) int {
	if srv.nodes == nil {
		return here()
	}
	if !srv.nodes.routes.Others(to) {
		// Those whom we have not heard of yet get it all the same.
		srv.nodes.routes.Send(to, o.encode())
		return here()
	}
	there := make(chan int, 1)
	go func() { there <- srv.nodes.ask(to, o) }()
	return here() + <-there
}

// connectionsEverywhere are those of a user.
func (srv *Server) connectionsEverywhere(ctx context.Context, user string) []connectionInfo {
	all := srv.connectionsOf(user)
	if srv.nodes == nil {
		return all
	}
	o := order{verb: verbConnections, user: user}
	for _, answer := range srv.nodes.routes.Ask(ctx, inbox.ToUser(user), o.encode()) {
		var there []connectionInfo
		if json.Unmarshal(answer, &there) == nil {
			all = append(all, there...)
		}
	}
	return all
}
