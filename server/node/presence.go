package node

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	// MaxPresence bounds Command.Users of VerbPresence.
	MaxPresence = 10_000
	// MaxPage bounds Command.Limit.
	MaxPage = 10_000
)

// UserSessions is a user with the number of its sessions.
type UserSessions struct {
	User     string `json:"user"`
	Sessions int    `json:"sessions"`
}

// MergeUsers returns the users of all lists, sorted, each once with the sum of the sessions.
func MergeUsers(lists ...[]UserSessions) []UserSessions {
	all := slices.Concat(lists...)
	slices.SortFunc(all, func(x, y UserSessions) int { return strings.Compare(x.User, y.User) })
	merged := all[:0]
	for _, u := range all {
		if n := len(merged); n > 0 && merged[n-1].User == u.User {
			merged[n-1].Sessions += u.Sessions
		} else {
			merged = append(merged, u)
		}
	}
	return merged
}

// PageOf returns the first users of counts in their order, at most limit, and only those
// after a name.
func PageOf(counts map[string]int, after string, limit int) []UserSessions {
	page := make([]UserSessions, 0, min(len(counts), limit))
	for _, user := range slices.Sorted(maps.Keys(counts)) {
		if user <= after {
			continue
		}
		if len(page) == limit {
			break
		}
		page = append(page, UserSessions{user, counts[user]})
	}
	return page
}

// Description is what a node says about itself.
type Description struct {
	State   string    `json:"state"`   // stats.Status, in words
	Version string    `json:"version"` // Config.Version; may be empty
	Since   time.Time `json:"since"`   // when its server was made
}

// checkPresence returns what is wrong with the fields of VerbPresence and VerbTopicUsers.
func checkPresence(c *Command) error {
	switch {
	case c.Verb == VerbPresence && len(c.Users) > MaxPresence:
		return fmt.Errorf("%d users: want at most %d", len(c.Users), MaxPresence)
	case c.Verb == VerbTopicUsers && (c.Limit < 1 || c.Limit > MaxPage+1):
		return fmt.Errorf("limit is %d: want 1 to %d", c.Limit, MaxPage+1)
	}
	return nil
}
