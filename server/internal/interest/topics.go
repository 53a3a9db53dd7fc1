package interest

import (
	"context"
	"sync"
	"time"

	"fanfare/server/node"
)

// reviewInterval is how often topics without subscribers are looked for.
const reviewInterval = 10 * time.Second

// Topics is the set of topics that are held.
type Topics struct {
	cluster     node.Cluster
	subscribers func(topic string) int

	mu   sync.Mutex
	held map[string]struct{} // guarded by mu
}

// NewTopics returns an empty set. subscribers returns the number of subscribers of a topic on
// this node.
func NewTopics(cluster node.Cluster, subscribers func(topic string) int) *Topics {
	return &Topics{cluster: cluster, subscribers: subscribers, held: make(map[string]struct{})}
}

// Hold is called after a session has subscribed.
func (t *Topics) Hold(topic string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, held := t.held[topic]; !held {
		t.held[topic] = struct{}{}
		t.cluster.Hold(node.Target{Topic: topic})
	}
}

// Run reviews the topics until ctx is done.
func (t *Topics) Run(ctx context.Context) {
	ticker := time.NewTicker(reviewInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			t.review()
		}
	}
}

// review releases the topics that have no subscriber.
func (t *Topics) review() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for topic := range t.held {
		// A session subscribes before it calls Hold, so one that is missed here holds the
		// topic again.
		if t.subscribers(topic) == 0 {
			delete(t.held, topic)
			t.cluster.Release(node.Target{Topic: topic})
		}
	}
}
