package server

import (
	"runtime"
	"sync"
	"sync/atomic"

	"fanfare/frame"
	"fanfare/netpoll"
)

// lists holds slices of receivers.
var lists = sync.Pool{New: func() any { l := make([]*Session, 0, 256); return &l }}

const listKeep = 1 << 16

func putList(l *[]*Session) {
	clear(*l)
	if cap(*l) <= listKeep {
		*l = (*l)[:0]
		lists.Put(l)
	}
}

// Push sends a message to all connections of a user and returns how many it was
// written or queued to. payload is copied, and as Text must be UTF-8.
func (srv *Server) Push(user string, op Op, payload []byte) int {
	return srv.PushPrepared(user, frame.Prepare(op, payload))
}

// PushPrepared is Push for a message that was encoded before.
func (srv *Server) PushPrepared(user string, p *frame.Prepared) int {
	l := lists.Get().(*[]*Session)
	defer putList(l)
	*l = srv.users.AppendUser(*l, user)
	n := deliverAll(*l, p, srv.userPolicy)
	srv.stats.pushed.Add(int64(n))
	return n
}

// Publish sends a message to all connections that follow a topic and returns how
// many it was written or queued to. payload is copied, and as Text must be UTF-8.
func (srv *Server) Publish(topic string, op Op, payload []byte) int {
	return srv.PublishPrepared(topic, frame.Prepare(op, payload))
}

// PublishPrepared is Publish for a message that was encoded before.
func (srv *Server) PublishPrepared(topic string, p *frame.Prepared) int {
	l := lists.Get().(*[]*Session)
	defer putList(l)
	*l = srv.users.AppendTopic(*l, topic)
	n := deliverMany(*l, p, srv.topicPolicy)
	srv.stats.published.Add(int64(n))
	return n
}

// Broadcast sends a message to every session that has a user and returns how
// many it was written or queued to. payload is copied, and as Text must be UTF-8.
func (srv *Server) Broadcast(op Op, payload []byte) int {
	return srv.BroadcastPrepared(frame.Prepare(op, payload))
}

// BroadcastPrepared is Broadcast for a message that was encoded before. It walks
// the engine's connections, not the registry: see netpoll.Engine.EachOf.
func (srv *Server) BroadcastPrepared(p *frame.Prepared) int {
	n := spread(srv.engine.Portions(), srv.Sessions(), func(i int) int {
		n := 0
		srv.engine.EachOf(i, func(h netpoll.Handler) {
			if h, ok := h.(handler); ok && h.s.listed() && h.s.deliver(p, srv.topicPolicy) == nil {
				n++
			}
		})
		return n
	})
	srv.stats.broadcast.Add(int64(n))
	return n
}

// portion is how many receivers are served before reads and heartbeats get
// their turn: 64 writes are about 0.4 ms.
const portion = 64

// deliverMany is deliverAll in portions, in parallel if it is worthwhile.
func deliverMany(to []*Session, p *frame.Prepared, policy netpoll.Policy) int {
	portions := (len(to) + portion - 1) / portion
	return spread(portions, len(to), func(i int) int {
		return deliverAll(to[i*portion:min((i+1)*portion, len(to))], p, policy)
	})
}

func deliverAll(to []*Session, p *frame.Prepared, policy netpoll.Policy) (n int) {
	for i, s := range to {
		if s.deliver(p, policy) == nil {
			n++
		}
		if i%portion == portion-1 {
			runtime.Gosched()
		}
	}
	return n
}

// worthwhile is how many receivers justify a further goroutine: below it,
// starting one costs more than it saves.
const worthwhile = 256

// spread calls part for 0 to parts-1 and adds up what it returns, on as many
// goroutines as there are cores, if there are receivers enough for them.
func spread(parts, receivers int, part func(i int) int) int {
	workers := min(runtime.GOMAXPROCS(0), receivers/worthwhile, parts)
	var next, total atomic.Int64
	run := func() {
		n := 0
		for i := int(next.Add(1)) - 1; i < parts; i = int(next.Add(1)) - 1 {
			n += part(i)
			runtime.Gosched()
		}
		total.Add(int64(n))
	}
	var wg sync.WaitGroup
	for range workers - 1 {
		wg.Go(run)
	}
	run()
	wg.Wait()
	return int(total.Load())
}

// Kick closes all connections of a user and returns how many there were.
func (srv *Server) Kick(user string, code Code, reason string) (n int) {
	for _, s := range srv.users.AppendUser(nil, user) {
		if s.Close(code, reason) {
			n++
		}
	}
	return n
}

// Connections of a user.
func (srv *Server) Connections(user string) []*Session { return srv.users.AppendUser(nil, user) }

// Followers is the number of connections that follow a topic.
func (srv *Server) Followers(topic string) int { return srv.users.TopicSessions(topic) }

// SubscribeUser makes all connections that a user has now follow a topic and
// returns how many do. Connections that come later do not.
func (srv *Server) SubscribeUser(user, topic string) (n int, err error) {
	for _, s := range srv.users.AppendUser(nil, user) {
		if e := s.Subscribe(topic); e != nil {
			err = e
			continue
		}
		n++
	}
	return n, err
}

// UnsubscribeUser ends that, and returns how many followed.
func (srv *Server) UnsubscribeUser(user, topic string) (n int) {
	for _, s := range srv.users.AppendUser(nil, user) {
		if s.Unsubscribe(topic) {
			n++
		}
	}
	return n
}
