package pusher

import (
	"errors"
	"fmt"
	"strings"

	"fanfare/server"
)

// Durable are channels whose messages are stored. The protocol knows neither users in a
// handshake nor positions, so that Reader says whose position a subscription has.
type Durable struct {
	// Channel is the name of a private or presence channel, or of the channel of a signed-in
	// user (#server-to-user-ID). One that ends with "*" stands for every name with that
	// prefix.
	Channel string `json:"channel"`
	// Reader is "channel" for channels of one user each, such as private-App.Models.User.7: what
	// one connection has acknowledged is read for all. It is "user" for channels that several
	// users share: then channel_data names the user, which it does for presence channels anyway,
	// and a subscription without it is rejected.
	Reader string `json:"reader"`
}

func (d *Durable) validate() error {
	name := strings.TrimSuffix(d.Channel, "*")
	user, toUser := strings.CutPrefix(name, serverToUser)
	switch {
	case !toUser && (!isSigned(name) || !validChannel(name)), toUser && user != "" && !validUserID(user):
		return fmt.Errorf("durable has the channel %.200q: want the name of a private or presence channel, #server-to-user-ID, or its beginning and a *", d.Channel)
	case d.Reader != "channel" && d.Reader != "user":
		return fmt.Errorf("durable has the reader %.80q for %s: want channel, for channels of one user, or user", d.Reader, d.Channel)
	}
	return nil
}

var errNoReader = errors.New("the channel is durable for each user: want channel_data with user_id in the subscription, which the backend signs")

// begin makes the subscription to a channel. member is what the backend says of the user; nil:
// nothing.
func (a *app) begin(s *server.Session, channel string, member *Member) error {
	topic := a.topic(channel)
	if !a.srv().Durable(topic) {
		return s.Subscribe(topic)
	}
	reader := topic
	for _, d := range a.conf().Durable {
		if !server.Covers([]string{d.Channel}, channel) {
			continue
		}
		if id, ok := strings.CutPrefix(channel, serverToUser); ok {
			reader = a.topic(signedIn + id)
		} else if d.Reader == "user" {
			if member == nil {
				return errNoReader
			}
			reader = a.topic(signedIn + member.UserID)
		}
		break
	}
	return s.SubscribeFor(reader, topic, true)
}
