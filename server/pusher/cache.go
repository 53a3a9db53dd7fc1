package pusher

import (
	"container/list"
	"sync"
	"time"
)

// errNoCache is why cache channels are rejected by a node of a cluster: another node would not have
// the event.
const errNoCache = "cache channels are not served by the nodes of a cluster"

// cache keeps the last event of each cache channel for a time. Beyond a number of bytes the
// event that was kept first is removed.
type cache struct {
	mu    sync.Mutex
	bytes int                      // guarded by mu
	of    map[string]*list.Element // guarded by mu; values are *cached
	order list.List                // the oldest first; guarded by mu
}

type cached struct {
	channel string
	event   event
	expires time.Time
}

// entryBytes is what an entry takes in addition to its strings.
const entryBytes = 256

func (c *cached) size() int {
	return entryBytes + 2*len(c.channel) + len(c.event.name) + len(c.event.data)
}

// set keeps an event.
func (c *cache) set(e event, now time.Time, ttl time.Duration, most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = make(map[string]*list.Element)
	}
	if old := c.of[e.channel]; old != nil {
		c.remove(old)
	}
	added := &cached{e.channel, e, now.Add(ttl)}
	c.of[e.channel] = c.order.PushBack(added)
	c.bytes += added.size()
	for first := c.order.Front(); first != nil; first = c.order.Front() {
		if kept := first.Value.(*cached); c.bytes <= most && now.Before(kept.expires) {
			break
		}
		c.remove(first)
	}
}

func (c *cache) remove(e *list.Element) {
	old := c.order.Remove(e).(*cached)
	delete(c.of, old.channel)
	c.bytes -= old.size()
}

// get returns the event of a channel, and for how long it is kept.
func (c *cache) get(channel string, now time.Time) (e event, left time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := c.of[channel]
	if found == nil {
		return e, 0, false
	}
	kept := found.Value.(*cached)
	if !now.Before(kept.expires) {
		c.remove(found)
		return e, 0, false
	}
	return kept.event, kept.expires.Sub(now), true
}
