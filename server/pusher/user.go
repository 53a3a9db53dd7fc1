package pusher

import (
	"context"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"

	"fanfare/server"
)

// signinData is the data of pusher:signin.
type signinData struct {
	Auth     string `json:"auth"`
	UserData string `json:"user_data"`
}

// userData is what the backend says of a user.
type userData struct {
	ID        string   `json:"id"`
	Watchlist []string `json:"watchlist"`
}

// signedInAs returns the user that a session has signed in as, empty if none.
func (a *app) signedInAs(s *server.Session) string {
	prefix := a.topic(signedIn)
	for _, topic := range s.Topics() {
		if id, ok := strings.CutPrefix(topic, prefix); ok {
			return id
		}
	}
	return ""
}

// signin handles pusher:signin. A client whose signature is not valid is closed.
func (a *app) signin(s *server.Session, m *message) {
	var d signinData
	if err := m.into(&d); err != nil {
		errorEvent(0, "pusher:signin: "+err.Error()).reply(s)
		return
	}
	conf := a.conf()
	if !conf.authorizes(d.Auth, socketOf(s)+"::user::"+d.UserData) {
		s.Close(closeUnauthorized, "the signature of the sign-in is not valid")
		return
	}
	var user userData
	reject := func(format string, args ...any) {
		errorEvent(closeUnauthorized, "pusher:signin: "+fmt.Sprintf(format, args...)).reply(s)
	}
	switch err := json.Unmarshal([]byte(d.UserData), &user); {
	case err != nil || !validUserID(user.ID):
		reject("user_data: want an object with id, a string of 1 to %d bytes, and watchlist, a list of strings", maxUserID)
		return
	case len(d.UserData) > conf.MaxEventBytes:
		reject("user_data has %d bytes: want at most %d", len(d.UserData), conf.MaxEventBytes)
		return
	case len(user.Watchlist) > conf.MaxWatched:
		reject("the watchlist has %d users: want at most %d", len(user.Watchlist), conf.MaxWatched)
		return
	}
	for _, id := range user.Watchlist {
		if !validUserID(id) {
			reject("the watchlist has a user whose id is not valid")
			return
		}
	}
	if as := a.signedInAs(s); as != "" && as != user.ID {
		reject("the connection has signed in as another user")
		return
	}
	if err := s.Subscribe(a.topic(signedIn + user.ID)); err != nil {
		reject("%s", subscribeFailure(err).Error)
		return
	}
	event{name: "pusher:signin_success", data: nested(signinSuccess{d.UserData})}.reply(s)
	a.watch(s, user.Watchlist)
}

type signinSuccess struct {
	UserData string `json:"user_data"`
}

// watchlist is the data of watchlist_events.
type watchlist struct {
	Events []watchlistEvent `json:"events"`
}

type watchlistEvent struct {
	Name    string   `json:"name"`
	UserIDs []string `json:"user_ids"`
}

// watchEvent returns the event for connections that watch a user.
func watchEvent(name, id string) event {
	return event{name: "pusher_internal:watchlist_events", data: nested(watchlist{[]watchlistEvent{{name, []string{id}}}})}
}

// watch subscribes a session to users who come online and go offline, and tells it which of them
// are online.
func (a *app) watch(s *server.Session, ids []string) {
	var online, offline []string
	for _, id := range ids {
		if err := s.Subscribe(a.topic(watchers + id)); err != nil {
			errorEvent(0, "the watchlist: "+subscribeFailure(err).Error).reply(s)
			break
		}
		if a.online(id) {
			online = append(online, id)
		} else {
			offline = append(offline, id)
		}
	}
	var list watchlist
	if len(online) > 0 {
		list.Events = append(list.Events, watchlistEvent{"online", online})
	}
	if len(offline) > 0 {
		list.Events = append(list.Events, watchlistEvent{"offline", offline})
	}
	if len(list.Events) > 0 {
		event{name: "pusher_internal:watchlist_events", data: nested(list)}.reply(s)
	}
}

// terminate closes the connections of a user who has signed in, on all nodes. An error says that
// some may be open.
func (a *app) terminate(ctx context.Context, id string) error {
	srv := a.srv()
	list := srv.TopicSessionsEverywhere(ctx, a.topic(signedIn+id))
	c := list.Coverage
	for _, s := range list.Sessions {
		d, err := srv.Disconnect(ctx, s.User, closeUnauthorized, "the backend has terminated the connections of the user")
		if err != nil {
			return err
		}
		c = c.Merge(d.Coverage)
	}
	if !c.Complete() {
		return fmt.Errorf("not all nodes have answered: %d are missing, %v; unreachable: %v", c.Missing, c.MissingNodes, c.Unreachable)
	}
	return nil
}
