package identity

import (
	"strings"
	"unique"
)

// List is a list of names of topics, joined by line feeds, which no name contains.
type List string

// Capabilities are what the client of a session may do by itself. Sessions with equal ones
// share them.
type Capabilities struct{ Subscribe, Publish, Presence List }

// None are the capabilities of a client that may do nothing.
var None unique.Handle[Capabilities]

// Share returns capabilities for sessions to share; None if there are none.
func Share(subscribe, publish, presence []string) unique.Handle[Capabilities] {
	if len(subscribe)+len(publish)+len(presence) == 0 {
		return None
	}
	return unique.Make(Capabilities{join(subscribe), join(publish), join(presence)})
}

func join(names []string) List { return List(strings.Join(names, "\n")) }

// Names returns the names of the list.
func (l List) Names() []string {
	if l == "" {
		return nil
	}
	return strings.Split(string(l), "\n")
}

// Covers is the function Covers for the names of the list.
func (l List) Covers(topic string) bool {
	for t := range strings.SplitSeq(string(l), "\n") {
		if t != "" && covers(t, topic) {
			return true
		}
	}
	return false
}

// Covers reports whether a topic is in a list of names, of which names that end
// with "*" stand for every name with that prefix.
func Covers(list []string, topic string) bool {
	for _, t := range list {
		if covers(t, topic) {
			return true
		}
	}
	return false
}

func covers(pattern, topic string) bool {
	n := len(pattern) - 1
	return pattern == topic || n >= 0 && pattern[n] == '*' && len(topic) >= n && topic[:n] == pattern[:n]
}
