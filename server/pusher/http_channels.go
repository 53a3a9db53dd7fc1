package pusher

import (
	"strings"

	"github.com/go-json-experiment/json"
)

// getChannels serves GET /apps/{id}/channels.
func getChannels(in *request) (any, *problem) {
	i, p := in.parseInfo(in.query.Get("info"))
	if p != nil {
		return nil, p
	}
	prefix := in.query.Get("filter_by_prefix")
	if i.users && !isPresence(prefix) {
		return nil, problemf(400, "user_count is for presence channels: want filter_by_prefix=presence-")
	}
	channels, p := in.app.channels(in.Context(), prefix)
	if p != nil {
		return nil, p
	}
	all := map[string]channelInfo{}
	for channel, subscribers := range channels {
		if !isListed(channel) {
			continue
		}
		if all[channel], p = in.app.describe(channel, subscribers, i); p != nil {
			return nil, p
		}
	}
	return struct {
		Channels map[string]channelInfo `json:"channels"`
	}{all}, nil
}

// channel returns the channel that a path names.
func (in *request) channel() (string, *problem) {
	channel := in.PathValue("channel")
	if !validChannel(channel) && !strings.HasPrefix(channel, serverToUser) {
		return "", problemf(400, "channel %.200q: want 1 to %d letters, digits and _-=@,.;", channel, maxChannel)
	}
	return channel, nil
}

// getChannel serves GET /apps/{id}/channels/{channel}.
func getChannel(in *request) (any, *problem) {
	channel, p := in.channel()
	if p != nil {
		return nil, p
	}
	i, p := in.parseInfo(in.query.Get("info"))
	switch {
	case p != nil:
		return nil, p
	case i.users && !isPresence(channel):
		return nil, problemf(400, "user_count is for presence channels")
	case i.cache && !isCache(channel):
		return nil, problemf(400, "cache is for cache channels")
	}
	subscribers, p := in.app.subscribers(in.Context(), channel)
	if p != nil {
		return nil, p
	}
	d, p := in.app.describe(channel, subscribers, i)
	if p != nil {
		return nil, p
	}
	occupied := subscribers > 0
	d.Occupied = &occupied
	return d, nil
}

type userInfo struct {
	ID string `json:"id"`
}

// getUsers serves GET /apps/{id}/channels/{channel}/users.
func getUsers(in *request) (any, *problem) {
	channel, p := in.channel()
	if p != nil {
		return nil, p
	}
	if !isPresence(channel) {
		return nil, problemf(400, "only presence channels have users")
	}
	users := []userInfo{}
	members, p := in.app.users(channel)
	if p != nil {
		return nil, p
	}
	for _, m := range members {
		users = append(users, userInfo{m.UserID})
	}
	return struct {
		Users []userInfo `json:"users"`
	}{users}, nil
}

// postTerminate serves POST /apps/{id}/users/{user}/terminate_connections.
func postTerminate(in *request) (any, *problem) {
	user := in.PathValue("user")
	if !validUserID(user) {
		return nil, problemf(400, "the id of the user is not valid: want 1 to %d bytes", maxUserID)
	}
	var nothing struct{}
	if len(in.body) > 0 {
		if err := json.Unmarshal(in.body, &nothing, json.RejectUnknownMembers(true)); err != nil {
			return nil, malformed(err)
		}
	}
	if err := in.app.terminate(in.Context(), user); err != nil {
		in.app.service.log.Error("Pusher connections not terminated", "app", in.app.id, "err", err)
		return nil, problemf(503, "the connections were not terminated: try again")
	}
	return struct{}{}, nil
}
