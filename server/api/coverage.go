package api

import (
	"strconv"

	"fanfare/server"
)

// coverage is the part of an answer that says whether it counts every node. Missing names
// nodes that did not answer; MissingCount is their number if it is greater.
type coverage struct {
	Complete     bool     `json:"complete"`
	Missing      []string `json:"missing,omitempty"`
	MissingCount int      `json:"missing_count,omitzero"`
}

func coverageOf(c server.Coverage) coverage {
	out := coverage{Complete: c.Complete(), Missing: c.MissingNodes}
	if c.Missing > len(c.MissingNodes) {
		out.MissingCount = c.Missing
	}
	return out
}

// appendCoverage appends nothing if every node has answered, otherwise the fields of
// coverage, each after a comma.
func appendCoverage(b []byte, c server.Coverage) []byte {
	if c.Complete() {
		return b
	}
	b = append(b, `,"complete":false`...)
	out := coverageOf(c)
	if len(out.Missing) > 0 {
		b = append(b, `,"missing":[`...)
		for i, name := range out.Missing {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(b, name)
		}
		b = append(b, ']')
	}
	if out.MissingCount > 0 {
		b = strconv.AppendInt(append(b, `,"missing_count":`...), int64(out.MissingCount), 10)
	}
	return b
}
