package handshake

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
)

var rewindPrefix = []byte("rewind.")

// Rewinds reads ?rewind.news=1, for any dialect: at most so many messages. topics are the ones that
// the session subscribes to when it opens. A position that the client names in the same handshake
// comes first, so that a client may connect again with the same URL. allowed and durable report
// whether a parameter may be there without effect, and whether a topic is durable.
func Rewinds(r *Request, q *Query, topics []string, most int, allowed, durable func(string) bool) (counts map[string]int, err error) {
	for k, v := range r.Pairs {
		name, err := UnescapeBytes(k)
		if err != nil || !bytes.HasPrefix(name, rewindPrefix) || q.find(name) != nil {
			continue // Query.Check rejects what is malformed or repeated; an Identifier may have asked for it
		}
		topic := string(name[len(rewindPrefix):])
		switch {
		case !slices.Contains(topics, topic):
			if q.any || allowed(string(name)) {
				continue
			}
			return nil, rejectRewind(name, "has no effect: the session does not subscribe to this topic when it opens")
		case !durable(topic):
			return nil, rejectRewind(name, "has no effect: the topic is not durable")
		}
		q.Use(string(name))
		value, err := UnescapeBytes(v)
		if err != nil {
			continue
		}
		n, err := strconv.Atoi(string(value))
		if err != nil || n < 1 || n > most {
			return nil, rejectRewind(name, "is "+Quote(value)+": want a number of messages from 1 to "+strconv.Itoa(most))
		}
		if counts == nil {
			counts = make(map[string]int)
		}
		counts[topic] = n
	}
	return counts, nil
}

func rejectRewind(name []byte, problem string) error {
	return &Rejection{
		Status: http.StatusBadRequest,
		Text:   "query parameter " + Quote(name) + " " + problem,
		Reason: "rewind that is not possible",
	}
}
