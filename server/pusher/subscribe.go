package pusher

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"fanfare/registry"
	"fanfare/server"
	"fanfare/server/node"
)

// subscribeData is the data of pusher:subscribe.
type subscribeData struct {
	Channel     string `json:"channel"`
	Auth        string `json:"auth"`
	ChannelData string `json:"channel_data"`
}

// channelData is what the backend says of a subscriber.
type channelData struct {
	UserID jsontext.Value `json:"user_id"`
	Info   jsontext.Value `json:"user_info"`
}

// failure is why a subscription is not made: the data of pusher:subscription_error.
type failure struct {
	Type   string `json:"type"`
	Error  string `json:"error"`
	Status int    `json:"status"`
}

func (f *failure) reply(s *server.Session, channel string) {
	data, err := json.Marshal(f, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		panic("BUG: pusher: a failure without JSON: " + err.Error())
	}
	event{name: "pusher:subscription_error", channel: channel, data: data}.reply(s)
}

// subscribe handles pusher:subscribe.
func (a *app) subscribe(s *server.Session, m *message) {
	var d subscribeData
	if err := m.into(&d); err != nil {
		errorEvent(0, "pusher:subscribe: "+err.Error()).reply(s)
		return
	}
	member, fail := a.admit(s, &d)
	if fail == nil {
		fail = a.enroll(s, d.Channel, member)
	}
	if fail != nil {
		fail.reply(s, d.Channel)
	}
}

// admit decides whether a session may subscribe. It returns what the backend says of the user,
// nil if it says nothing.
func (a *app) admit(s *server.Session, d *subscribeData) (*Member, *failure) {
	if id, ok := strings.CutPrefix(d.Channel, serverToUser); ok {
		if !slices.Contains(s.Topics(), a.topic(signedIn+id)) {
			return nil, &failure{"AuthError", "the connection has not signed in as this user", 401}
		}
		return nil, nil
	}
	if !validChannel(d.Channel) {
		return nil, &failure{"ChannelError", fmt.Sprintf("the name of the channel is not valid: want 1 to %d letters, digits and _-=@,.;", maxChannel), 400}
	}
	if a.service.cluster != nil && isCache(d.Channel) {
		return nil, &failure{"ChannelError", errNoCache, 400}
	}
	if !isSigned(d.Channel) {
		return nil, nil
	}
	parts := []string{socketOf(s), d.Channel}
	if isPresence(d.Channel) || d.ChannelData != "" {
		parts = append(parts, d.ChannelData)
	}
	if !a.conf().authorizes(d.Auth, parts...) {
		return nil, &failure{"AuthError", "the signature is not valid: want KEY:SIGNATURE of the socket id and the channel, as the backend's library makes it with the key and secret of this app", 401}
	}
	if d.ChannelData == "" && !isPresence(d.Channel) {
		return nil, nil
	}
	member, err := a.member(d.ChannelData)
	if err != nil && isPresence(d.Channel) {
		return nil, &failure{"ChannelError", "channel_data: " + err.Error(), 400}
	}
	return member, nil
}

// member reads channel_data.
func (a *app) member(text string) (*Member, error) {
	var d channelData
	if most := a.conf().MaxEventBytes; len(text) > most {
		return nil, fmt.Errorf("has %d bytes: want at most %d", len(text), most)
	}
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return nil, errors.New("want an object with user_id and user_info")
	}
	id, err := userID(d.UserID)
	if err != nil {
		return nil, err
	}
	return &Member{id, d.Info}, nil
}

// userID reads the ID of a user, a string or a number.
func userID(v jsontext.Value) (id string, err error) {
	switch v.Kind() {
	case '"':
		err = json.Unmarshal(v, &id)
	case '0':
		id = string(v)
	}
	if err != nil || !validUserID(id) {
		return "", fmt.Errorf("user_id is missing or not valid: want a string of 1 to %d bytes, or a number", maxUserID)
	}
	return id, nil
}

// enroll subscribes a session that may subscribe, and confirms.
func (a *app) enroll(s *server.Session, channel string, member *Member) *failure {
	if !isPresence(channel) {
		if err := a.begin(s, channel, member); err != nil {
			return subscribeFailure(err)
		}
		a.confirm(s, channel, nil)
		return nil
	}
	key := subscription{s.User(), channel}
	if !a.hasRoom(channel, member.UserID) {
		return &failure{"LimitReached", fmt.Sprintf("the channel has %d members, which is the maximum", a.conf().MaxMembers), 403}
	}
	if a.service.cluster != nil && len(member.Info) > node.MaxOccupantInfo {
		return &failure{"ChannelError", fmt.Sprintf("channel_data: user_info has %d bytes: want at most %d in a cluster", len(member.Info), node.MaxOccupantInfo), 400}
	}
	a.order.Lock()
	a.joining[key] = member
	a.order.Unlock()
	err := a.begin(s, channel, member) // entered confirms
	a.order.Lock()
	_, again := a.joining[key]
	delete(a.joining, key)
	a.order.Unlock()
	switch {
	case err != nil:
		return subscribeFailure(err)
	case again: // it has the subscription
		a.confirm(s, channel, a.membersFor(channel, member))
	}
	return nil
}

func subscribeFailure(err error) *failure {
	if errors.Is(err, errNoReader) {
		return &failure{"ChannelError", err.Error(), 403}
	}
	if errors.Is(err, registry.ErrTooManyTopics) {
		return &failure{"LimitReached", "the connection has its maximum number of subscriptions", 403}
	}
	return &failure{"ChannelError", "the subscription was not made", 503}
}

// presenceData is the data of subscription_succeeded for a presence channel.
type presenceData struct {
	Presence struct {
		Count int                       `json:"count"`
		IDs   []string                  `json:"ids"`
		Hash  map[string]jsontext.Value `json:"hash"`
	} `json:"presence"`
}

var noData = jsontext.Value(`"{}"`)

// confirm sends subscription_succeeded, and the last event of a cache channel.
func (a *app) confirm(s *server.Session, channel string, members []Member) {
	e := event{name: "pusher_internal:subscription_succeeded", channel: channel, data: noData}
	if isPresence(channel) {
		var d presenceData
		d.Presence.Count = len(members)
		d.Presence.IDs = make([]string, 0, len(members))
		d.Presence.Hash = make(map[string]jsontext.Value, len(members))
		for _, m := range members {
			d.Presence.IDs = append(d.Presence.IDs, m.UserID)
			info := m.Info
			if len(info) == 0 {
				info = jsontext.Value("null")
			}
			d.Presence.Hash[m.UserID] = info
		}
		e.data = nested(d)
	}
	e.reply(s)
	if !isCache(channel) {
		return
	}
	if last, _, ok := a.cache.get(channel, a.service.now()); ok {
		last.reply(s)
		return
	}
	event{name: "pusher:cache_miss", channel: channel}.reply(s)
	a.webhooks.add(hookEvent{Name: "cache_miss", Channel: channel})
}

// unsubscribe handles pusher:unsubscribe, which has no answer.
func (a *app) unsubscribe(s *server.Session, m *message) {
	var d subscribeData
	if err := m.into(&d); err != nil {
		errorEvent(0, "pusher:unsubscribe: "+err.Error()).reply(s)
		return
	}
	if validChannel(d.Channel) || strings.HasPrefix(d.Channel, serverToUser) {
		s.Unsubscribe(a.topic(d.Channel))
	}
}
