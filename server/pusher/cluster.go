package pusher

import (
	"context"
	"slices"
	"strings"
	"sync"

	"fanfare/server"
	"fanfare/server/node"
)

// cluster is what the nodes of a cluster know together about the channels of all apps. What each
// node holds goes to node.Occupancy; what follows from changes, there and here, comes back to
// every node in one order. A Service without a cluster has none.
type cluster struct {
	// Immutable.
	service   *Service
	occupancy node.Occupancy

	mu     sync.Mutex
	roster roster // members of presence channels, and users who have signed in; guarded by mu

	led roster // what was reported, on the node that leads; owned by the goroutine that reports
}

var _ node.OccupantObserver = (*cluster)(nil)

// appOf cuts a topic into its app, nil if this node does not have it, and the channel.
func (c *cluster) appOf(topic string) (a *app, channel string) {
	id, channel, _ := strings.Cut(strings.TrimPrefix(topic, topicPrefix), "/")
	return c.service.apps.Load().byID[id], channel
}

// FollowOccupants implements node.OccupantObserver: the local subscribers are told what has
// changed.
func (c *cluster) FollowOccupants(changes []node.OccupantChange, whole bool) {
	if whole {
		c.mu.Lock()
		changes = slices.Concat(changes, c.roster.others(changes))
		c.mu.Unlock()
	}
	for i := range changes {
		if a, channel := c.appOf(changes[i].Topic); a != nil {
			a.followed(channel, &changes[i])
		} else {
			c.set(&changes[i]) // the app may be added later
		}
	}
}

func (c *cluster) set(change *node.OccupantChange) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.roster.set(change)
}

// followed applies a change of the cluster. A session is told nothing about its own user, of whom
// it knows that it is there.
func (a *app) followed(channel string, change *node.OccupantChange) {
	defer a.changes.run()
	a.order.Lock()
	defer a.order.Unlock()
	if !a.service.cluster.set(change) {
		return
	}
	id := change.Member
	if strings.HasPrefix(channel, signedIn) {
		name := "offline"
		if change.Present {
			name = "online"
		}
		a.changes.add(func() { a.publishHere(watchers+id, watchEvent(name, id), nil) })
		return
	}
	e := event{name: "pusher_internal:member_removed", channel: channel, data: nested(Member{UserID: id})}
	if change.Present {
		e.name, e.data = "pusher_internal:member_added", nested(memberWith(id, change.Info))
	}
	a.changes.add(func() {
		a.publishHere(channel, e, func(s *server.Session) bool {
			m := a.presence.Member(channel, s.User())
			return m != nil && m.UserID == id
		})
	})
}

// publishHere sends an event to the subscribers of a channel on this node.
func (a *app) publishHere(channel string, e event, skip func(*server.Session) bool) {
	if skip == nil {
		skip = func(*server.Session) bool { return false }
	}
	if _, err := a.srv().PublishHere(a.topic(channel), e.message(), skip); err != nil {
		a.service.log.Error("Pusher event not published", "app", a.id, "channel", channel, "err", err)
	}
}

// LeadOccupants implements node.OccupantObserver.
func (c *cluster) LeadOccupants(present []node.Occupant) {
	c.led = make(roster)
	for _, o := range present {
		c.led.set(&node.OccupantChange{Occupant: o, Present: true})
	}
}

// ReportOccupants implements node.OccupantObserver: the webhooks are told what has changed.
func (c *cluster) ReportOccupants(changes []node.OccupantChange) {
	for i := range changes {
		change := &changes[i]
		a, channel := c.appOf(change.Topic)
		if !c.led.set(change) || a == nil || !isListed(channel) {
			continue
		}
		e := hookEvent{Name: "channel_vacated", Channel: channel, UserID: change.Member}
		switch {
		case change.Member != "" && change.Present:
			e.Name = "member_added"
		case change.Member != "":
			e.Name = "member_removed"
		case change.Present:
			e.Name = "channel_occupied"
		}
		a.webhooks.add(e)
	}
}

// NodeGone implements node.OccupantObserver: its subscribers do not count any more.
func (c *cluster) NodeGone() {
	for _, a := range c.service.apps.Load().byID {
		a.counter.addAll()
	}
}

// hold tells the cluster that a channel has, or has not, subscribers on this node. That a user has
// signed in concerns every node, and other channels only the webhooks. The caller holds order.
func (a *app) hold(channel string, held bool) {
	o := node.Occupant{Topic: a.topic(channel)}
	if id, ok := strings.CutPrefix(channel, signedIn); ok {
		o.Member = id
	} else if !isListed(channel) {
		return
	} else if held && !a.hearsChannels() {
		return
	}
	a.service.cluster.occupancy.Occupy(o, held)
}

// hearsChannels reports whether a webhook is told which channels have subscribers.
func (a *app) hearsChannels() bool {
	return a.conf().hears("channel_occupied") || a.conf().hears("channel_vacated")
}

// holdMember tells the cluster that a user has, or has not, a connection to this node that
// subscribes to a channel. The caller holds order.
func (a *app) holdMember(channel string, m *Member, held bool) {
	a.service.cluster.occupancy.Occupy(node.Occupant{Topic: a.topic(channel), Member: m.UserID, Info: string(m.Info)}, held)
}

// holdAgain tells the cluster what follows from a new configuration.
func (a *app) holdAgain() {
	a.order.Lock()
	defer a.order.Unlock()
	for _, channel := range a.presence.Channels("") {
		if isListed(channel) {
			a.hold(channel, a.hearsChannels())
		}
	}
}

// release tells the cluster that this node does not have the app any more. The caller holds order.
func (a *app) release() {
	for _, channel := range a.presence.Channels("") {
		a.hold(channel, false)
		for _, m := range a.presence.Members(channel) {
			a.holdMember(channel, &m, false)
		}
	}
}

// membersFor returns the members of a presence channel, for a subscriber who is one of them. In a
// cluster, those of whom this node has not heard yet follow as member_added.
func (a *app) membersFor(channel string, self *Member) []Member {
	c := a.service.cluster
	if c == nil {
		return a.presence.Members(channel)
	}
	c.mu.Lock()
	all := c.roster.members(a.topic(channel))
	c.mu.Unlock()
	if at, found := slices.BinarySearchFunc(all, self.UserID, func(m Member, id string) int { return strings.Compare(m.UserID, id) }); !found {
		all = slices.Insert(all, at, *self)
	}
	return all
}

// hasRoom reports whether a user may become a member of a presence channel, or is one. Of several
// that come to different nodes at the same time, more may.
func (a *app) hasRoom(channel, id string) bool {
	most := a.conf().MaxMembers
	known, users := false, 0
	if c := a.service.cluster; c != nil {
		c.mu.Lock()
		members := c.roster[a.topic(channel)]
		_, known = members[id]
		users = len(members)
		c.mu.Unlock()
	}
	_, here := a.presence.Count(channel)
	return known || max(users, here) < most ||
		slices.ContainsFunc(a.presence.Members(channel), func(m Member) bool { return m.UserID == id })
}

// online reports whether a user has signed in, on any node.
func (a *app) online(id string) bool {
	if n, _ := a.presence.Count(signedIn + id); n > 0 {
		return true
	}
	c := a.service.cluster
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.roster[a.topic(signedIn+id)] != nil
}

// errNodes is the answer to a request of which not all nodes of the cluster took part.
var errNodes = problemf(503, "not all nodes of the cluster can be asked now: try again")

// users returns the members of a presence channel, on all nodes.
func (a *app) users(channel string) ([]Member, *problem) {
	c := a.service.cluster
	if c == nil {
		return a.presence.Members(channel), nil
	}
	if !c.occupancy.Current() {
		return nil, errNodes
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.roster.members(a.topic(channel)), nil
}

// subscribers returns the number of subscribers to a channel, on all nodes.
func (a *app) subscribers(ctx context.Context, channel string) (int, *problem) {
	if a.service.cluster == nil {
		n, _ := a.presence.Count(channel)
		return n, nil
	}
	d, err := a.srv().SubscribersEverywhere(ctx, a.topic(channel))
	if err != nil || !d.Complete() {
		return 0, errNodes
	}
	return d.Receivers, nil
}

// channels returns the channels with subscribers whose names begin with a prefix, on all nodes,
// and the numbers of their subscribers.
func (a *app) channels(ctx context.Context, prefix string) (map[string]int, *problem) {
	all := make(map[string]int)
	if a.service.cluster == nil {
		for _, channel := range a.presence.Channels(prefix) {
			all[channel], _ = a.presence.Count(channel)
		}
		return all, nil
	}
	for q := (server.PageQuery{Prefix: a.topic(prefix), Limit: server.MaxPage}); ; {
		page, err := a.srv().Topics(ctx, q)
		if err != nil || !page.Complete() {
			return nil, errNodes
		}
		for _, t := range page.Topics {
			all[strings.TrimPrefix(t.Topic, a.topic(""))] = t.Subscribers
			q.After = t.Topic
		}
		if !page.More {
			return all, nil
		}
	}
}
