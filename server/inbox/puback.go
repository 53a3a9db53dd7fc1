package inbox

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// pubAck is JetStream's answer to a message.
type pubAck struct {
	Seq       uint64    `json:"seq"`
	Duplicate bool      `json:"duplicate"`
	Error     *apiError `json:"error"`
}

// decodePubAck decodes an answer. Nearly all are {"stream":"NAME","seq":7}, which takes
// package json a tenth of the time of an append.
func decodePubAck(data []byte) (a pubAck, err error) {
	rest, named := bytes.CutPrefix(data, []byte(`{"stream":"`))
	name, digits, numbered := bytes.Cut(rest, []byte(`","seq":`))
	digits, last := bytes.CutSuffix(digits, []byte("}"))
	if named && numbered && last && !bytes.ContainsAny(name, `"\\`) {
		if a.Seq, err = strconv.ParseUint(string(digits), 10, 64); err == nil {
			return a, nil
		}
	}
	a = pubAck{}
	return a, json.Unmarshal(data, &a)
}
