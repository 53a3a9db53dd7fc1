package pusher

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"

	"fanfare/server"
)

// rejection is why a session is closed when it has opened: clients read close codes, and not the
// status of a handshake.
type rejection struct {
	code   server.Code
	reason string
}

// identify is the Identifier of the endpoint. The user of a session is its socket ID, which a
// backend signs, so that it is hard to guess and never comes again.
func (v *Service) identify(_ context.Context, r *server.Request) (server.Identity, error) {
	version, origin := r.Query("protocol"), r.Header("Origin")
	for _, name := range []string{"client", "version", "flash"} {
		r.Query(name) // what clients say of themselves
	}
	path := r.Path()
	key := path[strings.LastIndexByte(path, '/')+1:]
	a := v.apps.Load().byKey[key]
	if rejected := a.reject(key, version, origin); rejected != nil {
		return server.Identity{Data: rejected}, nil
	}
	return server.Identity{User: a.topic(fmt.Sprintf("%d.%d", rand.Uint64N(1<<53), rand.Uint64N(1<<53)))}, nil
}

// reject returns why a client may not connect, nil if it may. a may be nil.
func (a *app) reject(key, version, origin string) *rejection {
	if a == nil {
		return &rejection{closeNoApp, fmt.Sprintf("app key %.80q does not exist: check the key and the host", key)}
	}
	conf := a.conf()
	switch n, err := strconv.Atoi(version); {
	case conf.Disabled:
		return &rejection{closeDisabled, "the app is disabled"}
	case version == "":
		return &rejection{closeNoVersion, "no protocol version supplied: want ?protocol=7"}
	case err != nil:
		return &rejection{closeBadVersion, "invalid version string format: want ?protocol=7"}
	case n < 5 || n > 7:
		return &rejection{closeUnsupported, fmt.Sprintf("unsupported protocol version %d: want 5 to 7", n)}
	case conf.MaxConnections > 0 && a.connections.Load() >= int64(conf.MaxConnections):
		return &rejection{closeOverQuota, "the app has its maximum number of connections"}
	case !conf.allows(origin):
		return &rejection{closeUnauthorized, "the origin of the page is not allowed"}
	}
	return nil
}

// allows reports whether a page of an origin may connect. Clients without one are not browsers.
func (app *App) allows(origin string) bool {
	if origin == "" || len(app.AllowedOrigins) == 0 {
		return true
	}
	for _, allowed := range app.AllowedOrigins {
		scheme, host, wild := strings.Cut(allowed, "://*.")
		switch {
		case allowed == "*" || strings.EqualFold(allowed, origin):
			return true
		case wild && len(origin) > len(scheme)+len("://.")+len(host) && strings.EqualFold(origin[:len(scheme)+3], scheme+"://") &&
			strings.EqualFold(origin[len(origin)-len(host)-1:], "."+host):
			return true
		}
	}
	return false
}

// opened is the hook OnOpen.
func (v *Service) opened(s *server.Session) {
	if rejected, ok := s.Data().(*rejection); ok {
		s.Close(rejected.code, rejected.reason)
		return
	}
	a := v.appOf(s)
	if a == nil {
		s.Close(closeNoApp, "the app does not exist any more")
		return
	}
	if n, most := a.connections.Add(1), a.conf().MaxConnections; most > 0 && n > int64(most) {
		s.Close(closeOverQuota, "the app has its maximum number of connections")
	}
}

// sessionClosed is the hook OnClose.
func (v *Service) sessionClosed(s *server.Session, _ server.CloseError) {
	if _, ok := s.Data().(*rejection); ok {
		return
	}
	if a := v.appOf(s); a != nil {
		a.connections.Add(-1)
	}
}

// moving is what another process needs to know of a session that it takes over.
type moving struct {
	Members  map[string]*Member `json:"members,omitzero"` // by channel
	Rejected server.Code        `json:"refused,omitzero"`
	Reason   string             `json:"reason,omitzero"`
}

// handOver is the hook OnHandOver.
func (v *Service) handOver(s *server.Session) ([]byte, error) {
	var m moving
	if rejected, ok := s.Data().(*rejection); ok {
		m.Rejected, m.Reason = rejected.code, rejected.reason
		return json.Marshal(m)
	}
	a := v.appOf(s)
	if a == nil {
		return nil, nil
	}
	for _, topic := range s.Topics() {
		channel := strings.TrimPrefix(topic, a.topic(""))
		if member := a.presence.Member(channel, s.User()); member != nil {
			if m.Members == nil {
				m.Members = make(map[string]*Member)
			}
			m.Members[channel] = member
		}
	}
	if m.Members == nil {
		return nil, nil
	}
	return json.Marshal(m)
}

// takeOver is the hook OnTakeOver. The users of the session are present as they were, and no
// event reports it.
func (v *Service) takeOver(s *server.Session, data []byte) {
	var m moving
	if len(data) > 0 {
		if err := json.Unmarshal(data, &m); err != nil {
			v.log.Error("Pusher session cannot be continued", "err", err)
			s.Close(server.StatusServiceRestart, "")
			return
		}
	}
	if m.Rejected != 0 {
		rejected := &rejection{m.Rejected, m.Reason}
		s.SetData(rejected)
		s.Close(rejected.code, rejected.reason)
		return
	}
	a := v.appOf(s)
	if a == nil {
		s.Close(closeNoApp, "the app does not exist any more")
		return
	}
	a.connections.Add(1)
	a.order.Lock()
	defer a.order.Unlock()
	for _, topic := range s.Topics() {
		if channel, ok := strings.CutPrefix(topic, a.topic("")); ok {
			change := a.presence.Enter(channel, s.User(), m.Members[channel])
			if a.service.cluster == nil {
				continue
			}
			if change.First {
				a.hold(channel, true)
			}
			if change.Member != nil {
				a.holdMember(channel, change.Member, true)
			}
		}
	}
}
