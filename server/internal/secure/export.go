package secure

import (
	"errors"
	"slices"

	"fanfare/netpoll"
	"fanfare/server/internal/limit"
	"fanfare/server/internal/tlsrecord"
)

// State is a Layer at rest, after a handshake of TLS 1.3.
type State struct {
	Record tlsrecord.State `json:"record"`
	Held   []byte          `json:"held,omitzero"` // an incomplete record
	// Arrived: Held was not given to Open yet.
	Arrived bool `json:"arrived,omitzero"`
}

// Exportable reports whether another process can continue the connection: not before the end
// of the handshake, and not one that crypto/tls serves. The caller holds the read turn.
func (l *Layer) Exportable() bool {
	return !l.Handshaking() && l.kept() == nil && (l.rest == nil || !l.rest.noMemory)
}

// Export returns the state of l, which is Exportable. The caller holds the read turn, and
// nothing is sealed from then on.
func (l *Layer) Export() *State {
	st := &State{Record: l.rec.Export()}
	if r := l.rest; r != nil {
		st.Held, st.Arrived = slices.Clone(r.held), r.arrived
	}
	return st
}

var errLongRecord = errors.New("secure: the incomplete record is too long")

// Import returns a Layer with the state that another process has exported.
func (s *Service) Import(st *State) (netpoll.Layer, error) {
	l := &Layer{service: s}
	if len(st.Held) > netpoll.MaxHeld {
		return nil, errLongRecord
	}
	if err := l.rec.Import(&st.Record); err != nil {
		return nil, err
	}
	if len(st.Held) > 0 {
		s.memory.Hold(0, len(st.Held), limit.ForMessage())
		l.rest = &rest{held: st.Held, arrived: st.Arrived}
	}
	return l, nil
}
