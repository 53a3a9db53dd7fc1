package keep

import (
	"github.com/go-json-experiment/json/jsontext"

	"fanfare/server/internal/handover"
)

// sessions is the payload of handover.Kept: what a keeper learns of sessions. Ended comes first.
type sessions struct {
	Ended    []uint64          `json:"ended,omitzero"`
	Sessions []session         `json:"sessions,omitzero"`
	Count    int               `json:"count"` // of all open sessions of the server
	Counters handover.Counters `json:"counters"`
}

// session describes one. Its descriptors are those of the message, in order, of the sessions
// with New.
type session struct {
	ID      uint64         `json:"id"`
	Version uint32         `json:"version,omitzero"`
	Number  int            `json:"number"` // of the descriptor in the server
	New     bool           `json:"new,omitzero"`
	Stream  bool           `json:"stream,omitzero"`
	State   jsontext.Value `json:"state"`
}

// Listener is a listener of the server. The keeper gives it to the next process.
type Listener struct {
	Name      string `json:"name"`
	Flag      string `json:"flag"`
	Activated bool   `json:"activated,omitzero"`
}
