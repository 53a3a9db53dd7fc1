package tlsrecord

import (
	"fmt"
	"slices"
)

// State is a [Conn] at rest, for another process that continues with the next record. It
// can be encoded as JSON, and has the secrets of the connection.
type State struct {
	Suite   uint16 `json:"suite"`
	Secrets []byte `json:"secrets"` // secret and key of both directions
	InSeq   uint64 `json:"in_seq,omitzero"`
	OutSeq  uint64 `json:"out_seq,omitzero"`
	InIV    []byte `json:"in_iv"`
	OutIV   []byte `json:"out_iv"`

	Over      uint8  `json:"over,omitzero"`
	Alert     Alert  `json:"alert,omitzero"`
	Useless   uint8  `json:"useless,omitzero"`
	Message   []byte `json:"message,omitzero"` // the beginning of a handshake message
	UpdatesAt uint32 `json:"updates_at,omitzero"`
	Owes      bool   `json:"owes,omitzero"` // a KeyUpdate is due
}

// Export returns the state of c. Neither Open nor Seal may be running.
func (c *Conn) Export() State {
	return State{
		Suite:   suites[c.suite].id,
		Secrets: slices.Clone(c.secrets),
		InSeq:   c.in.seq, InIV: slices.Clone(c.in.iv[:]),
		OutSeq: c.out.seq, OutIV: slices.Clone(c.out.iv[:]),
		Over: c.over, Alert: c.alert, Useless: c.useless,
		Message:   slices.Clone(c.message[:c.partial]),
		UpdatesAt: c.updatesAt,
		Owes:      c.owesUpdate.Load(),
	}
}

// Import sets the state of a Conn that was not used yet, in place of Init.
func (c *Conn) Import(st *State) error {
	i, err := findSuite(st.Suite)
	if err != nil {
		return err
	}
	s := &suites[i]
	if len(st.Secrets) != 2*(s.secretLen+s.keyLen) || len(st.InIV) != ivLen || len(st.OutIV) != ivLen ||
		len(st.Message) > len(c.message) || st.Over > peerViolated {
		return fmt.Errorf("tlsrecord: inconsistent state of a connection with %d bytes of secrets", len(st.Secrets))
	}
	c.suite, c.secrets = i, slices.Clone(st.Secrets)
	c.in.seq, c.out.seq = st.InSeq, st.OutSeq
	copy(c.in.iv[:], st.InIV)
	copy(c.out.iv[:], st.OutIV)
	c.over, c.alert, c.useless = st.Over, st.Alert, st.Useless
	c.partial = uint8(copy(c.message[:], st.Message))
	c.updatesAt = st.UpdatesAt
	c.owesUpdate.Store(st.Owes)
	_, err = s.aead(c.keyOf(&c.in)) // fails if the process is in FIPS 140-only mode
	return err
}

// Erase overwrites the secrets.
func (st *State) Erase() {
	clear(st.Secrets)
	clear(st.InIV)
	clear(st.OutIV)
}
