package server

import (
	"sync"
	"time"
)

// interest tells the cluster whose commands this node wants. Users are counted by
// the cluster, one Hold a session. Topics are held here, once each: sessions end in
// too many ways to count their subscriptions, so review finds out which topics have
// no subscriber any more.
type interest struct {
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
