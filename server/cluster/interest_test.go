package cluster

import (
	"fmt"
	"hash/fnv"
	"sync"
	"testing"

	"fanfare/server"
)

// TestBucket pins the hash: every node, and perhaps a load balancer, computes it.
func TestBucket(t *testing.T) {
	for _, name := range []string{"", "a", "alice", "älice", "\xff\x00"} {
		h := fnv.New32a()
		h.Write([]byte(name))
		if got, want := Bucket(name), int(h.Sum32()%1024); got != want {
			t.Errorf("%q: %d, want %d", name, got, want)
		}
	}
	if got := targetOf(user("alice")).subject(); got != "fanfare.node.user.999" {
		t.Errorf("user: %s", got)
	}
	if got := targetOf(topic("alice")).subject(); got != "fanfare.node.topic.999" {
		t.Errorf("topic: %s", got)
	}
	if got := targetOf(server.Target{}).subject(); got != "fanfare.node.every" {
		t.Errorf("everyone: %s", got)
	}
}

// TestHoldAllocates nothing: it is called for each session.
func TestHoldAllocates(t *testing.T) {
	c := offline(&fakeNode{})
	to := user("alice")
	if n := testing.AllocsPerRun(100, func() {
		c.Hold(to)
		c.Shared(to)
		c.Release(to)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestInterestFollows: however Hold, Release and the sender's work interleave, the
// subscriptions end as the interest does.
func TestInterestFollows(t *testing.T) {
	ns := startNATS(t)
	before := ns.NumSubscriptions() + 3 // control, replies, everyone
	m := join(t, ns.ClientURL())
	await(t, "the first round is over", func() bool { return m.Stats().Missed > 0 && ns.NumSubscriptions() == before })
	const users, rounds = 20, 500
	var working sync.WaitGroup
	for w := range 4 {
		working.Go(func() {
			for i := range rounds {
				to := user(fmt.Sprint((w + i) % users))
				m.Hold(to)
				if i%7 == 0 {
					m.buckets.sweep(m.now().Add(2 * linger))
					m.out.wake()
				}
				m.Release(to)
			}
		})
	}
	working.Wait()
	for i := range users {
		m.Hold(user(fmt.Sprint(i)))
		if err := m.Sync(t.Context(), user(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	buckets := make(map[target]bool)
	for i := range users {
		buckets[targetOf(user(fmt.Sprint(i)))] = true
	}
	await(t, "every bucket that is held is subscribed", func() bool {
		return int(ns.NumSubscriptions()-before) == len(buckets)
	})
	for i := range users {
		m.Release(user(fmt.Sprint(i)))
	}
	m.buckets.sweep(m.now().Add(2 * linger))
	m.out.wake()
	await(t, "no bucket is", func() bool { return ns.NumSubscriptions() == before })
}

// TestRenew: a bucket that the sender has subscribed before the rest of a new connection
// is not subscribed twice, which would have each command served twice.
func TestRenew(t *testing.T) {
	ns := startNATS(t)
	all := joinAll(t, ns.ClientURL(), 2)
	all[0].Hold(user("alice"))
	known(t, user("alice"), all[1])
	before := ns.NumSubscriptions()
	done := make(chan struct{})
	all[0].out.put(outgoing{do: func() {
		all[0].buckets.renew()
		all[0].followInterest()
		close(done)
	}}, 0, true)
	<-done
	for _, text := range []string{"one", "two"} { // the second follows all copies of the first
		all[1].mustAsk(t, user("alice"), push("alice", text))
	}
	if got := all[0].node.commands(); len(got) != 2 {
		t.Errorf("%d commands are served", len(got))
	}
	if got := ns.NumSubscriptions(); got != before {
		t.Errorf("%d subscriptions, before %d", got, before)
	}
}

// TestReleaseWithoutHold is a bug of the caller, which would otherwise show as a
// user who receives nothing.
func TestReleaseWithoutHold(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	offline(&fakeNode{}).Release(user("alice"))
}
