package pusher

import (
	"context"
	"slices"
	"sync"
	"time"
)

// counter reports the numbers of subscribers of a cluster, from a goroutine that runs while there
// is something to count. Each node asks for the channels that have changed there. Two nodes
// may do so at the same time, and the older number be reported last: so a channel is counted
// until its number stays what this node has reported.
type counter struct {
	app *app // immutable

	mu      sync.Mutex
	due     map[string]bool // channels; guarded by mu
	all     bool            // every channel of this node is due; guarded by mu
	running bool            // guarded by mu
	quit    context.Context // set by init
	stop    context.CancelFunc
	ended   sync.WaitGroup

	last map[string]int // what was reported a moment ago; owned by run
}

func (c *counter) init(a *app) {
	c.app, c.due, c.last = a, make(map[string]bool), make(map[string]int)
	c.quit, c.stop = context.WithCancel(context.Background())
}

// add has a channel counted.
func (c *counter) add(channel string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.due[channel] = true
	c.start()
}

// addAll has all channels of this node counted, if their numbers are reported.
func (c *counter) addAll() {
	if !c.app.conf().SubscriptionCount {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = true
	c.start()
}

// start starts the goroutine. The caller holds mu.
func (c *counter) start() {
	if !c.running && c.quit.Err() == nil {
		c.running = true
		c.ended.Go(c.run)
	}
}

// take returns the channels that are due, or false if the goroutine ends.
func (c *counter) take() (channels []string, ok bool) {
	c.mu.Lock()
	all := c.all
	for channel := range c.due {
		channels = append(channels, channel)
	}
	clear(c.due)
	ok = all || len(channels) > 0
	c.all, c.running = false, ok
	c.mu.Unlock()
	if all {
		for _, channel := range c.app.presence.Channels("") {
			if counted(channel) {
				channels = append(channels, channel)
			}
		}
	}
	slices.Sort(channels)
	return slices.Compact(channels), ok
}

func (c *counter) run() {
	for {
		channels, ok := c.take()
		if !ok {
			return
		}
		for _, channel := range channels {
			c.count(channel)
		}
		select {
		case <-c.quit.Done():
			return
		case <-time.After(countInterval):
		}
	}
}

// count reports the number of subscribers to a channel, unless it is the one that was reported.
func (c *counter) count(channel string) {
	n, p := c.app.subscribers(c.quit, channel)
	if c.quit.Err() != nil || !c.app.conf().SubscriptionCount {
		return
	}
	if last, reported := c.last[channel]; p == nil && reported && last == n {
		delete(c.last, channel)
		return
	}
	if p == nil {
		c.last[channel] = n
		c.app.publishCount(channel, n)
	}
	c.mu.Lock()
	c.due[channel] = true // again, until it is known and stays
	c.mu.Unlock()
}

// close ends the goroutine.
func (c *counter) close() {
	c.mu.Lock()
	c.stop()
	c.mu.Unlock()
	c.ended.Wait()
}
