package operate

import (
	"fmt"
	"slices"
	"strings"

	"fanfare/server/node"
)

// SessionKey returns the key of a session in pages: they are in the order in which they were
// opened, and those of the same time in that of their IDs.
func SessionKey(s *node.SessionDetails) string {
	return fmt.Sprintf("%019d/%s", max(s.Opened.UnixNano(), 0), s.ID)
}

// Keep returns the sessions that a question of the kind Sessions asks for, in the order of
// their keys.
func (q *Question) Keep(all []node.SessionDetails) []node.SessionDetails {
	return Page(slices.DeleteFunc(all, func(s node.SessionDetails) bool {
		return q.Node != "" && s.Node != q.Node || q.Dialect != "" && s.Dialect != q.Dialect ||
			q.Topic != "" && !slices.Contains(s.Topics, q.Topic) || SessionKey(&s) <= q.After
	}), q.Limit)
}

// Page sorts sessions by their keys, and returns the first ones.
func Page(all []node.SessionDetails, limit int) []node.SessionDetails {
	slices.SortFunc(all, func(a, b node.SessionDetails) int { return strings.Compare(SessionKey(&a), SessionKey(&b)) })
	return all[:min(len(all), limit)]
}

// MergeCloses returns the closes of all answers in the order in which they were started, each
// once, with what all have counted.
func MergeCloses(answers []Answer) (all []node.PacedClose) {
	for i := range answers {
		all = append(all, answers[i].Closes...)
	}
	return node.MergePacedLists(all, func(c *node.PacedClose) *node.PacedBroadcast { return &c.PacedBroadcast })
}
