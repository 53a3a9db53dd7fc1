package server

import (
	"strconv"
	"strings"
)

// resume returns the offset that the client names for a topic.
func (a *admission) resume(topic string) (offset uint64, ok bool) {
	offset, ok = a.offsets[topic]
	return offset, ok
}

// takeOffsets reads ?offset=41&offset.news=7, the first of each name. It walks the
// query once: a client may follow a hundred topics and send thousands of parameters.
func (a *admission) takeOffsets(r *Request) error {
	var named map[string]string // topics, by the parameters that may still come for them
	for k, v := range r.pairs {
		param, err := unescape(k)
		if err != nil || !strings.HasPrefix(param, "offset") {
			continue
		}
		if named == nil {
			named = a.offsetParams()
		}
		topic, ok := named[param]
		if !ok {
			continue
		}
		value, err := unescape(v)
		if err != nil {
			continue
		}
		delete(named, param)
		if value == "" {
			continue
		}
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil {
			return Refuse(400, param+": want the number that the last message had")
		}
		if a.offsets == nil {
			a.offsets = make(map[string]uint64)
		}
		a.offsets[topic] = n
	}
	return nil
}

// offsetParams are the parameters that name an offset, with their topics.
func (a *admission) offsetParams() map[string]string {
	params := map[string]string{"offset": ""}
	for _, topic := range a.id.Topics {
		params["offset."+topic] = topic
	}
	return params
}
