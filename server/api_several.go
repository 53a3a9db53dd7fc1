package server

import "fanfare/frame"

// pushSeveral sends a message to the connections of several users and topics, once
// to each. One that is meant both ways gets it as a user's message, which is the
// stricter kind when its queue is full.
func (srv *Server) pushSeveral(users, topics []string, p *frame.Prepared) int {
	l := lists.Get().(*[]*Session)
	defer putList(l)
	all := *l
	for _, user := range users {
		all = srv.users.AppendUser(all, user)
	}
	seen := make(map[*Session]struct{}, len(all))
	all = unseen(all, seen)
	split := len(all)
	for _, topic := range topics {
		from := len(all)
		all = srv.users.AppendTopic(all, topic)
		all = all[:from+len(unseen(all[from:], seen))]
	}
	*l = all
	pushed := deliverMany(all[:split], p, srv.userPolicy)
	published := deliverMany(all[split:], p, srv.topicPolicy)
	srv.stats.pushed.Add(int64(pushed))
	srv.stats.published.Add(int64(published))
	return pushed + published
}

// unseen keeps, in place, the sessions that are not in seen, and adds them.
func unseen(list []*Session, seen map[*Session]struct{}) []*Session {
	kept := list[:0]
	for _, s := range list {
		if _, was := seen[s]; !was {
			seen[s] = struct{}{}
			kept = append(kept, s)
		}
	}
	clear(list[len(kept):]) // they go back to a pool
	return kept
}
