package inbox

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"hash/fnv"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Routes lead from a node to those that hold whom a message concerns. They carry
// what is for now; what must not be lost is in the Store.
//
// Users and topics are hashed into buckets. A node subscribes to those of whom it
// holds, so NATS sends a message only there. Once a second, and when something
// changes, each node says to all which buckets it holds: from this follows how
// many answers an Ask waits for, and nothing else.
type Routes struct {
	// Immutable.
	store *Store
	self  string
	serve func(body []byte) (answer []byte)

	incoming chan *nats.Msg
	everyone chan *nats.Msg
	beats    chan *nats.Msg
	changed  chan struct{}
	quit     chan struct{}
	running  sync.WaitGroup
	fixed    []*nats.Subscription

	buckets [2 * Buckets]bucket // of users, and of topics
	asks    asks

	said uint64 // beats; owned by the goroutine of beat

	mu    sync.Mutex
	nodes map[string]*node // the others; guarded by mu
}

// Buckets of users, and as many of topics. With 100 nodes a bucket of users is a
// tenth of a node's.
const Buckets = 1024

// To says whom a message concerns.
type To struct{ bucket int }

// Everyone is all nodes.
var Everyone = To{-1}

// ToUser is the nodes that hold a user, and perhaps some that do not.
func ToUser(name string) To { return To{hash(name)} }

// ToTopic is the nodes that hold a topic's followers, likewise.
func ToTopic(name string) To { return To{Buckets + hash(name)} }

// hash is the same on all nodes.
func hash(name string) int {
	h := fnv.New32a()
	h.Write([]byte(name))
	return int(h.Sum32() % Buckets)
}

const (
	routePrefix = "fanfare.route."
	allSubject  = "fanfare.route.all"
	beatSubject = "fanfare.beat"
)

func (t To) subject() string {
	if t == Everyone {
		return allSubject
	}
	return routePrefix + strconv.Itoa(t.bucket)
}

// bucket is this node's interest in one.
type bucket struct {
	mu    sync.Mutex
	holds int                // guarded by mu
	sub   *nats.Subscription // nil: none; guarded by mu
	// flushed is set when NATS is known to have the subscription.
	flushed bool // guarded by mu
}

// node is another one, as its last beat describes it.
type node struct {
	heard time.Time
	said  uint64 // beats
	holds [2 * Buckets / 8]byte
}

const (
	beatEvery = time.Second
	// beatLost is when a node that says nothing is taken for gone.
	beatLost = 3500 * time.Millisecond
	// beatForgotten is when it will not come back. Until then it may have been cut
	// off, and a beat says how much of what it said was not heard.
	beatForgotten = time.Hour
	// incomingMost is how many messages wait for this node to send them on; what
	// comes beyond is dropped by the NATS client, and told.
	incomingMost = 64 << 10
)

// Join makes this process a node. serve is called for what other nodes send, one
// after another per bucket; what it returns answers an Ask.
func (s *Store) Join(serve func(body []byte) (answer []byte)) (*Routes, error) {
	var id [8]byte
	rand.Read(id[:])
	r := &Routes{
		store:    s,
		self:     hex.EncodeToString(id[:]),
		serve:    serve,
		incoming: make(chan *nats.Msg, incomingMost),
		everyone: make(chan *nats.Msg, 1<<10),
		beats:    make(chan *nats.Msg, 1<<10),
		changed:  make(chan struct{}, 1),
		quit:     make(chan struct{}),
		nodes:    make(map[string]*node),
	}
	for _, f := range []struct {
		subject string
		to      chan *nats.Msg
	}{{allSubject, r.everyone}, {beatSubject, r.beats}} {
		sub, err := s.nc.ChanSubscribe(f.subject, f.to)
		if err != nil {
			return nil, s.unavailable(err)
		}
		r.fixed = append(r.fixed, sub)
	}
	sub, err := r.asks.listen(s.nc)
	if err != nil {
		return nil, s.unavailable(err)
	}
	r.fixed = append(r.fixed, sub)
	r.running.Go(func() { r.dispatch(r.incoming) })
	r.running.Go(func() { r.dispatch(r.everyone) })
	r.running.Go(r.beat)
	return r, nil
}

// Leave ends it, and tells the others.
func (r *Routes) Leave() {
	close(r.quit)
	r.running.Wait()
	for _, sub := range r.fixed {
		sub.Unsubscribe()
	}
	if r.store.nc.Publish(beatSubject, append([]byte(r.self), byeMark)) == nil {
		r.store.nc.FlushTimeout(time.Second)
	}
}

// Hold says that this node has one more of the bucket.
func (r *Routes) Hold(to To) {
	b := &r.buckets[to.bucket]
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.holds++; b.holds > 1 {
		return
	}
	sub, err := r.store.nc.ChanSubscribe(to.subject(), r.incoming)
	if err != nil { // the connection is closed, so this is the end
		return
	}
	b.sub, b.flushed = sub, false
	r.tell()
}

// Drop says that it has one less.
func (r *Routes) Drop(to To) {
	b := &r.buckets[to.bucket]
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.holds--; b.holds > 0 || b.sub == nil {
		return
	}
	b.sub.Unsubscribe()
	b.sub = nil
	r.tell()
}

// Reach returns when messages that are sent from now on reach this node, if it
// holds the bucket.
func (r *Routes) Reach(ctx context.Context, to To) error {
	b := &r.buckets[to.bucket]
	b.mu.Lock()
	sub, flushed := b.sub, b.flushed
	b.mu.Unlock()
	if flushed || sub == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.store.cfg.Timeout)
	defer cancel()
	if err := r.store.nc.FlushWithContext(ctx); err != nil {
		return r.store.unavailable(err)
	}
	b.mu.Lock()
	b.flushed = b.flushed || b.sub == sub
	b.mu.Unlock()
	return nil
}

// Send brings a message to the other nodes that it concerns. Nothing is promised.
func (r *Routes) Send(to To, body []byte) {
	r.store.nc.Publish(to.subject(), body)
}

// Others tells whether another node holds the bucket, as far as is known.
func (r *Routes) Others(to To) bool { return r.holders(to) > 0 }

// holders is how many other nodes hold the bucket.
func (r *Routes) holders(to To) (n int) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, nd := range r.nodes {
		switch {
		case now.Sub(nd.heard) > beatForgotten:
			delete(r.nodes, id)
		case now.Sub(nd.heard) > beatLost:
		case to == Everyone || nd.holds[to.bucket/8]&(1<<(to.bucket%8)) != 0:
			n++
		}
	}
	return n
}

// Self is the name of this node, until it ends.
func (r *Routes) Self() string { return r.self }

// Nodes is how many there are, this one included.
func (r *Routes) Nodes() int { return r.holders(Everyone) + 1 }

// dispatch serves what comes in.
func (r *Routes) dispatch(in <-chan *nats.Msg) {
	for {
		select {
		case <-r.quit:
			return
		case m := <-in:
			answer := r.serve(m.Data)
			if m.Reply != "" {
				r.store.nc.Publish(m.Reply, answer)
			}
		}
	}
}

// tell lets the others know soon.
func (r *Routes) tell() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}
