package server

import (
	"strconv"

	"fanfare/server/inbox"
)

// What /v1/stats and /metrics have in common: counters by label. Only those that
// counted something are listed.

// statusNames of Server.status.
var statusNames = [...]string{starting: "starting", serving: "serving", draining: "draining", stopped: "stopped"}

// refusals of handshakes and connections, by HTTP status.
func (srv *Server) refusals() map[string]int64 {
	by := make(map[string]int64)
	for status := range srv.stats.refused {
		if n := srv.stats.refused[status].Load(); n > 0 {
			by[strconv.Itoa(status)] += n
		}
	}
	if n := srv.engine.Stats().Rejected; n > 0 { // there was no session to refuse
		by["503"] += n
	}
	return by
}

// limited counts what a limit has stopped: connections, handshakes and sessions.
func (srv *Server) limited() map[string]int64 {
	st := &srv.stats
	return map[string]int64{
		"connections":        st.full.Load(),
		"connections_per_ip": st.crowded.Load(),
		"handshake_rate":     st.hurried.Load(),
		"plain_requests":     st.crammed.Load(),
		"api_connections":    st.unserved.Load(),
		"sessions_per_user":  st.manifold.Load(),
		"memory":             st.pressed.Load(),
		"client_rate":        st.overRate.Load(),
	}
}

// closes of sessions, by the code of whoever ended them first.
func (srv *Server) closes() map[string]int64 {
	by := make(map[string]int64)
	for code := range srv.stats.closes {
		if n := srv.stats.closes[code].Load(); n > 0 {
			by[strconv.Itoa(code)] = n
		}
	}
	return by
}

// deliveries of messages to connections, by the kind of push.
func (srv *Server) deliveries() map[string]int64 {
	st := &srv.stats
	by := map[string]int64{
		"user":      st.pushed.Load(),
		"topic":     st.published.Load(),
		"broadcast": st.broadcast.Load(),
	}
	if srv.unread != nil {
		by["durable"] = st.replayed.Load()
	}
	return by
}

// drops of messages, by reason: "full" are those that a full queue threw away,
// "slow" those that ended a connection with 1013 instead of being queued, "ending"
// those that were queued when their connection ended.
func (srv *Server) drops() map[string]int64 {
	engine := srv.engine.Stats()
	return map[string]int64{
		"full":   engine.Dropped,
		"slow":   srv.stats.slow.Load(),
		"ending": engine.Abandoned,
	}
}

// inboxCounts are those of the inbox; nil if there is none.
func (srv *Server) inboxCounts() *inboxFigures {
	if srv.unread == nil {
		return nil
	}
	return &inboxFigures{srv.unread.store.Stats(), srv.unread.mailboxes(), srv.unread.waiting(), srv.unread.store.Ready() == nil}
}

// inboxFigures are counts since the start, and what is now.
type inboxFigures struct {
	inbox.Stats
	Mailboxes int  `json:"mailboxes"` // sessions that something was or is replayed to
	Waiting   int  `json:"waiting"`   // those of them whose turn has not come
	Ready     bool `json:"ready"`
}
