package pusher

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"fanfare/server"
)

// app is an App with its state.
type app struct {
	// Immutable.
	service  *Service
	id       string
	presence Presence

	current     atomic.Pointer[App] // what it points at is immutable
	connections atomic.Int64
	cache       cache
	changes     sequence
	webhooks    webhooks
	counter     counter // of a cluster

	// order is held across a change of the subscribers and what is added to changes, and the
	// webhooks, because of it: order → locks of Presence, changes and webhooks.
	order    sync.Mutex
	joining  map[subscription]*Member // members whose subscription is being made; guarded by order
	counting map[string]*counting     // channels whose number of subscribers was reported a moment ago; guarded by order
	closed   bool                     // guarded by order
}

// subscription is that of a session to a channel.
type subscription struct{ session, channel string }

func newApp(v *Service, id string) *app {
	a := &app{service: v, id: id, presence: newLocal(), joining: make(map[subscription]*Member), counting: make(map[string]*counting)}
	a.webhooks.init(a)
	a.counter.init(a)
	return a
}

func (a *app) conf() *App          { return a.current.Load() }
func (a *app) srv() *server.Server { return a.service.srv.Load() }
func (a *app) topic(channel string) string {
	return topicPrefix + a.id + "/" + channel
}

// configure puts a valid configuration into force.
func (a *app) configure(conf *App) { a.current.Store(conf) }

func (a *app) close() {
	a.order.Lock()
	a.closed = true
	for _, c := range a.counting {
		c.timer.Stop()
	}
	clear(a.counting)
	if a.service.cluster != nil {
		a.release()
	}
	a.order.Unlock()
	a.counter.close()
	a.webhooks.close()
}

// appOf returns the app of a session, nil if there is none any more.
func (v *Service) appOf(s *server.Session) *app {
	id, _, _ := strings.Cut(strings.TrimPrefix(s.User(), topicPrefix), "/")
	return v.apps.Load().byID[id]
}

// socketOf returns the socket ID of a session.
func socketOf(s *server.Session) string {
	user := s.User()
	return user[strings.LastIndexByte(user, '/')+1:]
}

// publish sends an event to the subscribers of a channel, except one session unless that is nil.
func (a *app) publish(channel string, e event, except *server.Session) {
	if _, err := a.srv().PublishExcept(context.Background(), a.topic(channel), e.message(), except); err != nil {
		a.service.log.Error("Pusher event not published", "app", a.id, "channel", channel, "err", err)
	}
}

// topicChanged is the hook OnTopic.
func (v *Service) topicChanged(s *server.Session, topic string, subscribed bool) {
	a := v.appOf(s)
	if a == nil {
		return
	}
	channel, ok := strings.CutPrefix(topic, a.topic(""))
	if !ok {
		return // another topic, to which the operator has subscribed the session
	}
	if subscribed {
		a.entered(s, channel)
	} else {
		a.left(s, channel)
	}
}

// entered reports a new subscription.
func (a *app) entered(s *server.Session, channel string) {
	defer a.changes.run()
	a.order.Lock()
	defer a.order.Unlock()
	key := subscription{s.User(), channel}
	member := a.joining[key]
	delete(a.joining, key)
	change := a.presence.Enter(channel, s.User(), member)
	if change.First {
		a.occupied(channel)
	}
	if member != nil {
		all := a.membersFor(channel, member)
		a.changes.add(func() { a.confirm(s, channel, all) })
	}
	if m := change.Member; m != nil && a.service.cluster != nil {
		a.holdMember(channel, m, true)
	} else if m != nil {
		e := event{name: "pusher_internal:member_added", channel: channel, data: nested(m)}
		a.changes.add(func() { a.publish(channel, e, s) })
		a.webhooks.add(hookEvent{Name: "member_added", Channel: channel, UserID: m.UserID})
	}
	a.countChanged(channel)
}

// left reports the end of a subscription.
func (a *app) left(s *server.Session, channel string) {
	defer a.changes.run()
	a.order.Lock()
	defer a.order.Unlock()
	change := a.presence.Exit(channel, s.User())
	if m := change.Member; m != nil && a.service.cluster != nil {
		a.holdMember(channel, m, false)
	} else if m != nil {
		e := event{name: "pusher_internal:member_removed", channel: channel, data: nested(Member{UserID: m.UserID})}
		a.changes.add(func() { a.publish(channel, e, s) })
		a.webhooks.add(hookEvent{Name: "member_removed", Channel: channel, UserID: m.UserID})
	}
	if change.Last {
		a.vacated(channel)
	}
	a.countChanged(channel)
}

// occupied is called when a channel has its first subscriber. The caller holds order.
func (a *app) occupied(channel string) {
	if a.service.cluster != nil {
		a.hold(channel, true)
	} else if id, ok := strings.CutPrefix(channel, signedIn); ok {
		a.changes.add(func() { a.publish(watchers+id, watchEvent("online", id), nil) })
	} else if isListed(channel) {
		a.webhooks.add(hookEvent{Name: "channel_occupied", Channel: channel})
	}
}

// vacated is the reverse of occupied.
func (a *app) vacated(channel string) {
	if a.service.cluster != nil {
		a.hold(channel, false)
	} else if id, ok := strings.CutPrefix(channel, signedIn); ok {
		a.changes.add(func() { a.publish(watchers+id, watchEvent("offline", id), nil) })
	} else if isListed(channel) {
		a.webhooks.add(hookEvent{Name: "channel_vacated", Channel: channel})
	}
}

// counted reports whether the number of subscribers to a channel is reported.
func counted(channel string) bool { return !isPresence(channel) && isListed(channel) }

// countInterval is the least time between two reports of the number of subscribers to a channel:
// each goes to all of them.
const countInterval = time.Second

// counting is a channel whose number was reported within countInterval.
type counting struct {
	timer   *time.Timer
	changed bool // since then
}

// countChanged reports the number of subscribers to a channel, now or when countInterval has
// passed. The caller holds order.
func (a *app) countChanged(channel string) {
	if !a.conf().SubscriptionCount || !counted(channel) || a.closed {
		return
	}
	if a.service.cluster != nil {
		a.counter.add(channel)
		return
	}
	if c := a.counting[channel]; c != nil {
		c.changed = true
		return
	}
	a.counting[channel] = &counting{timer: time.AfterFunc(countInterval, func() { a.countAgain(channel) })}
	a.reportCount(channel)
}

func (a *app) countAgain(channel string) {
	defer a.changes.run()
	a.order.Lock()
	defer a.order.Unlock()
	c := a.counting[channel]
	delete(a.counting, channel)
	if c != nil && c.changed {
		a.countChanged(channel)
	}
}

type subscriptionCount struct {
	Count int `json:"subscription_count"`
}

func (a *app) reportCount(channel string) {
	n, _ := a.presence.Count(channel)
	a.changes.add(func() { a.publish(channel, countEvent(channel, n), nil) })
	a.webhooks.add(countHook(channel, n))
}

// publishCount reports the number of subscribers of a cluster.
func (a *app) publishCount(channel string, n int) {
	a.publish(channel, countEvent(channel, n), nil)
	a.webhooks.add(countHook(channel, n))
}

func countEvent(channel string, n int) event {
	return event{name: "pusher_internal:subscription_count", channel: channel, data: nested(subscriptionCount{n})}
}

func countHook(channel string, n int) hookEvent {
	return hookEvent{Name: "subscription_count", Channel: channel, SubscriptionCount: &n}
}
