package fanfarev1

import (
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"fanfare/server/internal/handshake"
)

// Position is the last message that a client has of its inbox, or of a durable topic.
type Position struct {
	Topic  string // empty: the inbox
	Epoch  string
	Offset uint64
}

// Params are the query parameters of a handshake that have an effect.
type Params interface {
	Use(name string)
	// Used reports true also for parameters that an Identifier has read.
	Used(name string) bool
}

// Positions reads ?offset=41&epoch=k3f9&offset.news=7&epoch.news=x81c. topics are those
// that the session subscribes to when it opens. An error is a handshake.Rejection. The
// parameters that Positions reads are added to used.
//
// Positions walks the query once: a client may name a hundred topics, and send thousands
// of parameters.
func Positions(r *handshake.Request, used Params, topics []string) ([]Position, error) {
	used.Use("offset")
	used.Use("epoch")
	var found []Position
	var params map[string]*param
	for k, v := range r.Pairs {
		name, err := handshake.Unescape(k)
		if err != nil || !strings.HasPrefix(name, "offset") && !strings.HasPrefix(name, "epoch") {
			continue
		}
		if params == nil {
			params = paramsOf(topics)
		}
		p := params[name]
		switch {
		case p == nil && (strings.HasPrefix(name, "offset.") || strings.HasPrefix(name, "epoch.")) && !used.Used(name):
			return nil, &handshake.Rejection{
				Status: http.StatusBadRequest,
				Text:   "query parameter " + handshake.Quote([]byte(name)) + " has no effect: the session does not subscribe to this topic when it opens",
				Reason: "position in a topic that the session does not subscribe to",
			}
		case p == nil:
			continue
		case p.found:
			return nil, handshake.RepeatedParam(name)
		}
		p.found = true
		used.Use(name)
		value, err := handshake.Unescape(v)
		if err != nil || value == "" {
			continue
		}
		if *p.place == 0 {
			found = append(found, Position{Topic: p.topic, Offset: noOffset})
			*p.place = len(found)
		}
		pos := &found[*p.place-1]
		if p.epoch {
			if !utf8.ValidString(value) {
				return nil, handshake.Reject(http.StatusBadRequest, name+": expected the epoch of the last message, and got "+handshake.Quote([]byte(value))+", which is not UTF-8")
			}
			pos.Epoch = value
		} else if pos.Offset, err = strconv.ParseUint(value, 10, 63); err != nil {
			return nil, handshake.Reject(http.StatusBadRequest, name+": expected the offset of the last message, a number")
		}
	}
	for _, pos := range found {
		switch {
		case pos.Offset == noOffset:
			return nil, handshake.Reject(http.StatusBadRequest, NoOffset)
		case pos.Offset > 0 && pos.Epoch == "":
			return nil, handshake.Reject(http.StatusBadRequest, NoEpoch)
		}
	}
	return found, nil
}

// NoEpoch is the text for an offset without an epoch: the offset may denote another
// message by now, and messages could be skipped silently.
const NoEpoch = "an offset without its epoch: send the epoch that came with the offset as well"

// NoOffset is the text for an epoch without an offset.
const NoOffset = "an epoch without its offset: send the offset that came with the epoch as well"

// noOffset is greater than every offset.
const noOffset = 1 << 63

// param is a parameter that Positions reads.
type param struct {
	topic string
	epoch bool // the parameter is the epoch, not the offset
	found bool
	place *int // 1 + index of the position; shared by its offset and its epoch; 0: none yet
}

// paramsOf returns the parameters for the inbox and the topics.
func paramsOf(topics []string) map[string]*param {
	params := make(map[string]*param, 2+2*len(topics))
	add := func(topic, suffix string) {
		place := new(int)
		params["offset"+suffix] = &param{topic: topic, place: place}
		params["epoch"+suffix] = &param{topic: topic, place: place, epoch: true}
	}
	add("", "")
	for _, t := range topics {
		add(t, "."+t)
	}
	return params
}
