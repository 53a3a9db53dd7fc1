package server

import (
	"net/http"
	"strconv"
	"strings"

	"fanfare/server/internal/handshake"
)

// Resume reads ?offset=41&epoch=k3f9&offset.news=7&epoch.news=x81c, the first of each
// name. It walks the query once: a client may name a hundred topics, and send thousands
// of parameters.
func (*v1) Resume(r *Request, topics []string) (map[string]Position, error) {
	var positions map[string]Position
	var params map[string]resumeParam // that may still come
	for k, v := range r.head.Pairs {
		name, err := handshake.Unescape(k)
		if err != nil || !strings.HasPrefix(name, "offset") && !strings.HasPrefix(name, "epoch") {
			continue
		}
		if params == nil {
			params, positions = resumeParams(topics), make(map[string]Position)
		}
		p, ok := params[name]
		if !ok {
			continue
		}
		value, err := handshake.Unescape(v)
		if err != nil {
			continue
		}
		delete(params, name)
		if value == "" {
			continue
		}
		pos, known := positions[p.topic]
		pos.Topic = p.topic
		if p.epoch {
			pos.Epoch = value
			if !known {
				pos.Offset = noOffset
			}
		} else if pos.Offset, err = strconv.ParseUint(value, 10, 63); err != nil {
			return nil, Reject(http.StatusBadRequest, name+": expected the offset of the last message, a number")
		}
		positions[p.topic] = pos
	}
	for topic, pos := range positions {
		switch {
		case pos.Offset == noOffset: // an epoch alone
			delete(positions, topic)
		case pos.Offset > 0 && pos.Epoch == "":
			return nil, Reject(http.StatusBadRequest, errNoEpoch)
		}
	}
	return positions, nil
}

// noOffset is beyond every offset.
const noOffset = 1 << 63

// resumeParam is what a parameter of the query is about.
type resumeParam struct {
	topic string
	epoch bool
}

func resumeParams(topics []string) map[string]resumeParam {
	params := map[string]resumeParam{"offset": {}, "epoch": {epoch: true}}
	for _, t := range topics {
		params["offset."+t] = resumeParam{topic: t}
		params["epoch."+t] = resumeParam{topic: t, epoch: true}
	}
	return params
}

// errNoEpoch: without the epoch nobody can tell whether the offset still denotes the
// same message, and messages could be skipped in silence.
const errNoEpoch = "an offset without its epoch: send the epoch that came with the offset as well"
