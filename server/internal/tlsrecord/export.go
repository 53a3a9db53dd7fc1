package tlsrecord

import (
	"fmt"
	"slices"
)

// State is a [Conn] at rest, for another process that continues with the next record. It
// can be encoded as JSON, and has the secrets of the connection.
type State struct {
	Suite   uint16 `json:"suite"`
	Secrets []byte `json:"secrets"` // of both directions
	InSeq   uint64 `json:"in_seq,omitzero"`
	OutSeq  uint64 `json:"out_seq,omitzero"`
	InIV    []byte `json:"in_iv"`
	OutIV   []byte `json:"out_iv"`

	Over      uint8  `json:"over,omitzero"`
	Alert     Alert  `json:"alert,omitzero"`
	Useless   uint8  `json:"useless,omitzero"`
	Partial   uint8  `json:"partial,omitzero"` // bytes received of an incomplete KeyUpdate
	UpdatesAt uint32 `json:"updates_at,omitzero"`
	Owes      bool   `json:"owes,omitzero"` // a KeyUpdate is due
}

// Export returns the state of c. Neither Open nor Seal may be running.
func (c *Conn) Export() State {
	return State{
		Suite:   suites[c.suite].id,
		Secrets: slices.Concat(c.secretOf(&c.in), c.secretOf(&c.out)),
		InSeq:   c.in.seq, InIV: slices.Clone(c.in.iv[:]),
		OutSeq: c.out.seq, OutIV: slices.Clone(c.out.iv[:]),
		Over: c.over, Alert: c.alert, Useless: c.useless,
		Partial:   c.partial,
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
	if len(st.Secrets) != 2*s.secretLen || len(st.InIV) != ivLen || len(st.OutIV) != ivLen ||
		st.Partial > handshakeHeaderLen || st.Over > peerViolated {
		return fmt.Errorf("tlsrecord: inconsistent state of a connection with %d bytes of secrets", len(st.Secrets))
	}
	c.suite = i
	copy(c.secretOf(&c.in), st.Secrets)
	copy(c.secretOf(&c.out), st.Secrets[s.secretLen:])
	c.setKey(&c.in)
	c.setKey(&c.out)
	c.in.seq, c.out.seq = st.InSeq, st.OutSeq
	copy(c.in.iv[:], st.InIV)
	copy(c.out.iv[:], st.OutIV)
	c.over, c.alert, c.useless = st.Over, st.Alert, st.Useless
	c.partial = st.Partial
	c.updatesAt = st.UpdatesAt
	c.owesUpdate.Store(st.Owes)
	_, err = c.newAEAD(&c.in) // fails if the process is in FIPS 140-only mode
	return err
}

// Erase overwrites the secrets.
func (st *State) Erase() {
	clear(st.Secrets)
	clear(st.InIV)
	clear(st.OutIV)
}
