package interest

import (
	"context"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"fanfare/server/node"
)

// fakeCluster counts what is held.
type fakeCluster struct {
	node.Cluster
	mu   sync.Mutex
	held map[node.Target]int // guarded by mu
}

func (c *fakeCluster) add(t node.Target, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held[t] += n
}

func (c *fakeCluster) Hold(t node.Target)    { c.add(t, 1) }
func (c *fakeCluster) Release(t node.Target) { c.add(t, -1) }

func TestTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeCluster{held: make(map[node.Target]int)}
		var mu sync.Mutex
		subscribers := map[string]int{"a": 2, "b": 1}
		set := func(topic string, n int) {
			mu.Lock()
			defer mu.Unlock()
			subscribers[topic] = n
		}
		topics := NewTopics(c, func(topic string) int {
			mu.Lock()
			defer mu.Unlock()
			return subscribers[topic]
		})
		ctx, cancel := context.WithCancel(context.Background())
		go topics.Run(ctx)
		defer synctest.Wait()
		defer cancel()
		for _, topic := range []string{"a", "b", "a"} {
			topics.Hold(topic)
		}
		a, b := node.Target{Topic: "a"}, node.Target{Topic: "b"}
		check := func(when string, want map[node.Target]int) {
			t.Helper()
			synctest.Wait()
			c.mu.Lock()
			defer c.mu.Unlock()
			if !maps.Equal(c.held, want) {
				t.Errorf("%s: held %v, want %v", when, c.held, want)
			}
		}
		check("at first", map[node.Target]int{a: 1, b: 1})
		set("b", 0)
		check("before a review", map[node.Target]int{a: 1, b: 1})
		time.Sleep(reviewInterval)
		check("after a review", map[node.Target]int{a: 1, b: 0})
		set("b", 1)
		topics.Hold("b")
		check("after another subscription", map[node.Target]int{a: 1, b: 1})
		time.Sleep(3 * reviewInterval)
		check("after further reviews", map[node.Target]int{a: 1, b: 1})
	})
}
