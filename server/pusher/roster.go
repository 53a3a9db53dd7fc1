package pusher

import (
	"maps"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"fanfare/server/node"
)

// roster is the members of topics: by topic and member, what the nodes know of the member, in the
// order in which it came. The member "" says that the topic has subscribers. Nothing in it is
// empty.
type roster map[string]map[string][]string

// set changes an occupant, and reports whether its member has come or left.
func (r roster) set(c *node.OccupantChange) bool {
	members := r[c.Topic]
	infos, was := members[c.Member]
	at := slices.Index(infos, c.Info)
	switch {
	case c.Present == (at >= 0):
		return false
	case c.Present:
		if members == nil {
			members = make(map[string][]string)
			r[c.Topic] = members
		}
		members[c.Member] = append(infos, c.Info)
		return !was
	case len(infos) > 1:
		members[c.Member] = slices.Delete(infos, at, at+1)
		return false
	}
	if delete(members, c.Member); len(members) == 0 {
		delete(r, c.Topic)
	}
	return true
}

// others returns the departure of every occupant that changes do not name as present.
func (r roster) others(changes []node.OccupantChange) (left []node.OccupantChange) {
	named := make(map[node.Occupant]bool, len(changes))
	for i := range changes {
		named[changes[i].Occupant] = changes[i].Present
	}
	for topic, members := range r {
		for id, infos := range members {
			for _, info := range infos {
				if o := (node.Occupant{Topic: topic, Member: id, Info: info}); !named[o] {
					left = append(left, node.OccupantChange{Occupant: o})
				}
			}
		}
	}
	return left
}

// members returns the members of a topic, by their ID.
func (r roster) members(topic string) []Member {
	members := r[topic]
	all := make([]Member, 0, len(members)+1)
	for _, id := range slices.Sorted(maps.Keys(members)) {
		all = append(all, memberWith(id, members[id][0]))
	}
	return all
}

// memberWith returns a member of whom a node knows something.
func memberWith(id, info string) Member {
	m := Member{UserID: id}
	if info := jsontext.Value(info); info.IsValid() {
		m.Info = info
	}
	return m
}
