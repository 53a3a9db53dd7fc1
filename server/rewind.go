package server

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"fanfare/server/internal/fanfarev1"
	"fanfare/server/internal/handshake"
	"fanfare/server/internal/replay"
)

// MaxRewind bounds SubscribeRewind, and the parameter rewind of a handshake.
const MaxRewind = fanfarev1.MaxRewind

// SubscribeRewind is Subscribe to a durable topic for a client that first wants the last n
// stored messages, 1 to MaxRewind, whether its user has acknowledged them or not: 1 is the last
// value. It has no effect on a topic that the session subscribes to already. The error is
// ErrNotDurable if the topic is not durable.
func (s *Session) SubscribeRewind(topic string, n int) error {
	if n < 1 || n > MaxRewind {
		return fmt.Errorf("server: rewind is %d: want 1 to %d", n, MaxRewind)
	}
	_, err := s.subscribe(topic, replay.Start{Rewind: uint16(n)}, false)
	return err
}

var rewindPrefix = []byte("rewind.")

// rewinds reads ?rewind.news=1, for any dialect. topics are those that the session subscribes
// to when it opens. A position that the client names in the same handshake comes first, so
// that a client may connect again with the same URL.
func (ep *endpoint) rewinds(r *Request, topics []string) (counts map[string]int, err error) {
	for k, v := range r.head.Pairs {
		name, err := unescape(k)
		if err != nil || !bytes.HasPrefix(name, rewindPrefix) || r.asked(name) != nil {
			continue // checkQuery rejects what is malformed or repeated; an Identifier may have asked for it
		}
		topic := string(name[len(rewindPrefix):])
		switch {
		case !slices.Contains(topics, topic):
			if r.anyQuery || Covers(ep.AllowQuery, string(name)) {
				continue
			}
			return nil, rejectRewind(name, "has no effect: the session does not subscribe to this topic when it opens")
		case !ep.srv.Durable(topic):
			return nil, rejectRewind(name, "has no effect: the topic is not durable")
		}
		r.ask(string(name), false)
		value, err := unescape(v)
		if err != nil {
			continue
		}
		n, err := strconv.Atoi(string(value))
		if err != nil || n < 1 || n > MaxRewind {
			return nil, rejectRewind(name, "is "+handshake.Quote(value)+": want a number of messages from 1 to "+strconv.Itoa(MaxRewind))
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
		Text:   "query parameter " + handshake.Quote(name) + " " + problem,
		Reason: "rewind that is not possible",
	}
}
