package cluster

import (
	"encoding/binary"

	"fanfare/server"
	"fanfare/server/node"
)

// maxState bounds the state and the version of a node in a reply.
const maxState = 256

// appendPresence appends Reply.Users and Reply.About.
func appendPresence(b []byte, r *server.Reply) []byte {
	b = binary.AppendUvarint(b, uint64(len(r.Users)))
	for _, u := range r.Users {
		b = binary.AppendUvarint(appendString(b, cut(u.User, maxName)), uint64(clamp(u.Sessions)))
	}
	b = appendString(b, cut(r.About.State, maxState))
	b = appendString(b, cut(r.About.Version, maxState))
	return appendTime(b, r.About.Since)
}

// presence is the reverse of appendPresence.
func (r *reader) presence(reply *server.Reply) {
	for n := r.uvarint(); n > 0 && !r.failed; n-- {
		user := r.text(maxName)
		if user == "" { // a byte must not become a string header of 16
			r.failed, r.b = true, nil
			return
		}
		reply.Users = append(reply.Users, node.UserSessions{User: user, Sessions: r.int()})
	}
	reply.About = node.Description{State: r.text(maxState), Version: r.text(maxState), Since: r.time()}
}
