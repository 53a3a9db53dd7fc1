package pusher

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"fanfare/server"
	"fanfare/server/store"
)

// posted is an event that a backend posts.
type posted struct {
	Name     string         `json:"name"`
	Data     jsontext.Value `json:"data"`
	Channels []string       `json:"channels"`
	Channel  string         `json:"channel"`
	SocketID string         `json:"socket_id"`
	Info     string         `json:"info"`

	attributes info
}

// described is the answer for several channels.
type described struct {
	Channels map[string]channelInfo `json:"channels,omitzero"`
	unanswered
}

// unanswered is the part of an answer that says that not all nodes have confirmed an event. An error
// would have libraries publish it again, also to sessions that have received it.
type unanswered struct {
	Complete *bool `json:"complete,omitzero"` // nil, or false
}

// add takes into account which nodes have confirmed an event.
func (u *unanswered) add(c server.Coverage) {
	if !c.Complete() {
		u.Complete = new(bool)
	}
}

var socketID = regexp.MustCompile(`^\d{1,20}\.\d{1,20}$`)

// check returns what is wrong with an event.
func (in *request) check(e *posted) (p *problem) {
	if e.Channel != "" {
		e.Channels = append([]string{e.Channel}, e.Channels...)
	}
	var data string
	switch {
	case e.Name == "" || len(e.Name) > maxEvent:
		return problemf(400, "the name of the event has %d bytes: want 1 to %d", len(e.Name), maxEvent)
	case len(e.Channels) == 0 || len(e.Channels) > in.conf.MaxEventChannels:
		return problemf(400, "the event has %d channels: want 1 to %d", len(e.Channels), in.conf.MaxEventChannels)
	case e.Data.Kind() != '"' || json.Unmarshal(e.Data, &data) != nil:
		return problemf(400, "data: want a string, which may contain JSON")
	case len(data) > in.conf.MaxEventBytes:
		return problemf(413, "the data of the event has %d bytes: want at most %d", len(data), in.conf.MaxEventBytes)
	case e.SocketID != "" && !socketID.MatchString(e.SocketID):
		return problemf(400, "socket_id is %.80q: want the id of a connection, such as 123.456", e.SocketID)
	}
	for _, channel := range e.Channels {
		user, toUser := strings.CutPrefix(channel, serverToUser)
		if toUser && !validUserID(user) || !toUser && !validChannel(channel) {
			return problemf(400, "channel %.200q: want 1 to %d letters, digits and _-=@,.;", channel, maxChannel)
		}
		if in.app.service.cluster != nil && isCache(channel) {
			return problemf(400, "channel %.200q: %s", channel, errNoCache)
		}
	}
	e.attributes, p = in.parseInfo(e.Info)
	return p
}

// publish sends an event to its channels, and adds to u whether all nodes have confirmed it.
func (in *request) publish(e *posted, u *unanswered) *problem {
	for _, channel := range e.Channels {
		c, err := in.app.trigger(in.Context(), event{name: e.Name, channel: channel, data: e.Data}, e.SocketID)
		u.add(c)
		if err != nil {
			switch {
			case errors.Is(err, server.ErrTooBig) || errors.Is(err, store.ErrTooBig):
				return problemf(413, "the event is longer than this server permits")
			case errors.Is(err, store.ErrFull):
				return problemf(507, "the store is full: try again later")
			}
			in.app.service.log.Error("Pusher event not published", "app", in.app.id, "channel", channel, "err", err)
			return problemf(503, "the event was not published to channel %s, and to those that follow it: try again", channel)
		}
	}
	return nil
}

// trigger publishes an event of a backend: to all subscribers but one, if a socket ID names it.
// In a durable channel it is stored, for all.
func (a *app) trigger(ctx context.Context, e event, except string) (server.Coverage, error) {
	var d server.Delivery
	var err error
	conf, srv, topic := a.conf(), a.srv(), a.topic(e.channel)
	if isCache(e.channel) {
		a.cache.set(e, a.service.now(), conf.cacheTTL(), conf.MaxCacheBytes)
	}
	switch {
	case srv.Durable(topic):
		var st server.Stored
		st, err = srv.PublishStored(ctx, topic, server.Entry{Op: server.Text, Payload: e.encode()})
		d = st.Delivery
	case except != "":
		d, err = srv.Deliver(ctx, server.Audience{Topics: []string{topic}, ExcludeUsers: []string{a.topic(except)}}, e.message())
	default:
		d, err = srv.Publish(ctx, topic, e.message())
	}
	return d.Coverage, err
}

// postEvents serves POST /apps/{id}/events.
func postEvents(in *request) (any, *problem) {
	var e posted
	if err := json.Unmarshal(in.body, &e, json.RejectUnknownMembers(true)); err != nil {
		return nil, malformed(err)
	}
	var answer described
	p := in.check(&e)
	if p == nil {
		p = in.publish(&e, &answer.unanswered)
	}
	if p != nil {
		return nil, p
	}
	if e.attributes != (info{}) {
		answer.Channels = make(map[string]channelInfo, len(e.Channels))
		for _, channel := range e.Channels {
			answer.Channels[channel] = in.describePosted(channel, e.attributes)
		}
	}
	return answer, nil
}

// describePosted describes a channel to which an event was published. What not all nodes have told
// is left out: an error would have the event published again.
func (in *request) describePosted(channel string, i info) channelInfo {
	if i == (info{}) {
		return channelInfo{}
	}
	subscribers, p := in.app.subscribers(in.Context(), channel)
	if p != nil {
		i.subscriptions = false
	}
	d, p := in.app.describe(channel, subscribers, i)
	if p != nil {
		i.users = false
		d, _ = in.app.describe(channel, subscribers, i)
	}
	return d
}

// postBatch serves POST /apps/{id}/batch_events. All events are checked before the first is
// published.
func postBatch(in *request) (any, *problem) {
	var doc struct {
		Batch []posted `json:"batch"`
	}
	if err := json.Unmarshal(in.body, &doc, json.RejectUnknownMembers(true)); err != nil {
		return nil, malformed(err)
	}
	if n := len(doc.Batch); n == 0 || n > in.conf.MaxBatch {
		return nil, problemf(400, "the batch has %d events: want 1 to %d", n, in.conf.MaxBatch)
	}
	for i := range doc.Batch {
		if p := in.check(&doc.Batch[i]); p != nil {
			p.text = fmt.Sprintf("event %d: %s", i, p.text)
			return nil, p
		}
	}
	var answer struct {
		Batch []channelInfo `json:"batch,omitzero"`
		unanswered
	}
	for i := range doc.Batch {
		if p := in.publish(&doc.Batch[i], &answer.unanswered); p != nil {
			p.text = fmt.Sprintf("event %d: %s", i, p.text)
			return nil, p
		}
	}
	if slices.ContainsFunc(doc.Batch, func(e posted) bool { return e.attributes != (info{}) }) {
		for _, e := range doc.Batch {
			answer.Batch = append(answer.Batch, in.describePosted(e.Channels[0], e.attributes))
		}
	}
	return answer, nil
}

func malformed(err error) *problem {
	if e, ok := errors.AsType[*json.SemanticError](err); ok {
		if errors.Is(err, json.ErrUnknownName) {
			return problemf(400, "the body: unknown member %.80q", string(e.JSONPointer))
		}
		return problemf(400, "the body: the value of %.80q has the wrong type", string(e.JSONPointer))
	}
	return problemf(400, "the body is not a JSON object")
}
