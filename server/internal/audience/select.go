package audience

import (
	"fanfare/server/node"
	"fanfare/server/where"
)

// TargetOf returns what the other nodes that have receivers hold.
func TargetOf(to *node.Audience) node.Target {
	switch users, topics := len(to.Users), len(to.Topics); {
	case users == 1 && topics == 0:
		return node.Target{User: to.Users[0]}
	case topics == 1 && users == 0:
		return node.Target{Topic: to.Topics[0]}
	}
	return node.Target{}
}

// Narrowed reports whether an audience leaves out sessions that it names.
func Narrowed(to *node.Audience) bool {
	return to.Where != nil || len(to.ExcludeUsers)+len(to.ExcludeSessions) > 0
}

// Selection decides on the receivers of one message on one node. nil selects every session.
type Selection struct {
	Where *where.Expr // what the labels of a receiver meet; nil: all

	users    map[string]struct{} // excluded
	sessions map[uint64]struct{} // excluded, by Session.ID
}

// Select returns the selection of an audience that Check accepts. self is the name of the node,
// empty without a cluster.
func Select(to *node.Audience, self string) *Selection {
	if !Narrowed(to) {
		return nil
	}
	sel := &Selection{Where: to.Where}
	if len(to.ExcludeUsers) > 0 {
		sel.users = make(map[string]struct{}, len(to.ExcludeUsers))
		for _, user := range to.ExcludeUsers {
			sel.users[user] = struct{}{}
		}
	}
	for _, id := range to.ExcludeSessions {
		if name, number, err := node.CutSessionID(id); err == nil && name == self {
			if sel.sessions == nil {
				sel.sessions = make(map[uint64]struct{}, len(to.ExcludeSessions))
			}
			sel.sessions[number] = struct{}{}
		}
	}
	return sel
}

// Excludes reports whether a session of this node is excluded by its user or its Session.ID.
// Its labels are not looked at: see Where.
func (sel *Selection) Excludes(user string, id uint64) bool {
	if sel.users != nil {
		if _, excluded := sel.users[user]; excluded {
			return true
		}
	}
	if sel.sessions != nil {
		if _, excluded := sel.sessions[id]; excluded {
			return true
		}
	}
	return false
}
