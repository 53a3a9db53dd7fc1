package inbox

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
)

// changes are the members of one configuration that differ in another, as in
// "max_bytes: 4294967296 to 1073741824".
func changes(from, to jetstream.StreamConfig) (list []string) {
	was, is := members(from), members(to)
	for name := range is {
		if _, ok := was[name]; !ok {
			was[name] = json.RawMessage("nothing")
		}
	}
	for name, v := range was {
		w, ok := is[name]
		if !ok {
			w = json.RawMessage("nothing")
		}
		if string(v) != string(w) {
			list = append(list, fmt.Sprintf("%s: %s to %s", name, v, w))
		}
	}
	slices.Sort(list)
	return list
}

func members(sc jetstream.StreamConfig) (m map[string]json.RawMessage) {
	b, err := json.Marshal(sc)
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		panic("BUG: inbox: " + err.Error())
	}
	return m
}
