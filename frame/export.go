package frame

import (
	"errors"

	"github.com/gobwas/ws"
)

// DecoderState is a [Decoder] between two calls of Next, for another process that continues
// with the next byte. It can be encoded as JSON.
type DecoderState struct {
	Params Params     `json:"params,omitzero"`
	Closed bool       `json:"closed,omitzero"` // the peer has sent a close frame
	Fault  StatusCode `json:"fault,omitzero"`  // the peer has committed a fault

	Head    []byte `json:"head,omitzero"`    // an incomplete header
	Context []byte `json:"context,omitzero"` // of compressed messages

	// An incomplete message, and the frame whose payload is incomplete.
	Op       ws.OpCode      `json:"op,omitzero"`
	Payload  []byte         `json:"payload,omitzero"` // inflated
	Complete uint32         `json:"complete,omitzero"`
	Valid    uint32         `json:"valid,omitzero"`
	Empty    uint8          `json:"empty,omitzero"`
	Message  bool           `json:"message,omitzero"`
	Frame    *FrameState    `json:"frame,omitzero"`
	Inflater *InflaterState `json:"inflater,omitzero"`
}

// FrameState is a frame whose payload is incomplete.
type FrameState struct {
	Op       ws.OpCode `json:"op,omitzero"`
	Fin      bool      `json:"fin,omitzero"`
	Deflated bool      `json:"deflated,omitzero"`
	Phase    uint8     `json:"phase,omitzero"`
	Mask     [4]byte   `json:"mask"`
	Left     int       `json:"left"`
}

// InflaterState is an incomplete deflated stream.
type InflaterState struct {
	Bits     uint64 `json:"bits,omitzero"`
	N        uint   `json:"n,omitzero"`
	Fed      int    `json:"fed,omitzero"`
	Start    int    `json:"start,omitzero"`
	Mode     uint8  `json:"mode,omitzero"`
	Final    bool   `json:"final,omitzero"`
	Ended    bool   `json:"ended,omitzero"`
	Length   int    `json:"length,omitzero"`
	Dist     int    `json:"dist,omitzero"`
	Counts   [4]int `json:"counts,omitzero"` // literals, dists, codes, at
	Lengths  []byte `json:"lengths,omitzero"`
	Fixed    bool   `json:"fixed,omitzero"`
	Dynamic0 []byte `json:"dynamic0,omitzero"` // the lengths of the codes
	Dynamic1 []byte `json:"dynamic1,omitzero"`
}

// Export ends the loan of the last payload and returns the state of the decoder, nil if
// that is the zero value. The state is a copy.
func (d *Decoder) Export() *DecoderState {
	if d.s != nil && d.s.borrowed {
		d.reclaim()
	}
	s := d.s
	if s == nil {
		return nil
	}
	st := &DecoderState{
		Closed: s.gotClose,
		Head:   clone(s.head[:s.headLen]), Context: clone(s.context),
		Op: s.op, Payload: clone(s.buf), Complete: s.complete, Valid: s.valid, Empty: s.empty, Message: s.inMessage,
	}
	if s.deflate {
		st.Params = Params{ServerBits: 15, ContextBits: s.contextBits}
	}
	if s.fault != nil {
		st.Fault = s.fault.Code
	}
	if s.inFrame {
		h := s.frame
		st.Frame = &FrameState{h.op, h.fin, h.deflated, h.phase, h.mask, h.left}
	}
	if s.z != nil {
		st.Inflater = s.z.export()
	}
	return st
}

func clone(b []byte) []byte { return append([]byte(nil), b...) }

func (z *inflater) export() *InflaterState {
	st := &InflaterState{
		Bits: z.b, N: z.n, Fed: z.fed, Start: z.start, Mode: uint8(z.mode), Final: z.final, Ended: z.ended,
		Length: z.length, Dist: z.dist, Counts: [4]int{z.literals, z.dists, z.codes, z.at},
	}
	// symbols leaves bits above n in b, which are read from src again.
	st.Bits &= 1<<z.n - 1
	switch z.mode {
	case codeLengthLengths, codeLengths:
		st.Lengths = clone(z.lengths[:])
		if z.mode == codeLengths {
			st.Dynamic0 = z.dynamic[0].lengths()
		}
	case blockSymbols, matchCopy:
		if st.Fixed = z.litCodes == fixedLit; !st.Fixed {
			st.Dynamic0, st.Dynamic1 = z.dynamic[0].lengths(), z.dynamic[1].lengths()
		}
	}
	return st
}

// lengths returns the lengths from which init has built the codes.
func (h *huffman) lengths() []byte {
	var of [len(h.sorted)]byte
	n, at := 0, 0
	for length := 1; length <= maxCode; length++ {
		for range h.count[length] {
			symbol := int(h.sorted[at])
			of[symbol] = uint8(length)
			n = max(n, symbol+1)
			at++
		}
	}
	return clone(of[:n])
}

var errState = errors.New("frame: no decoder has this state")

// Import sets the state of a decoder that was not used yet. It rejects a state that Export
// cannot have returned for a decoder with these rules.
func (d *Decoder) Import(r *Rules, st *DecoderState) error {
	if st == nil {
		return nil
	}
	if bits := st.Params.ContextBits; bits != 0 && (bits < 9 || bits > 15 || st.Params.ServerBits == 0) {
		return errState
	}
	switch {
	case st.Fault != 0:
		for f, s := range failedStates {
			if f.Code == st.Fault {
				d.setState(s)
				return nil
			}
		}
		return errState
	case st.Closed:
		d.setState(closed)
		return nil
	}
	d.Start(st.Params)
	if len(st.Head) == 0 && len(st.Context) == 0 && !st.Message && st.Frame == nil {
		return nil
	}
	s := d.ownState()
	if !s.restore(r, st) {
		d.Release()
		return errState
	}
	return nil
}

func (s *state) restore(r *Rules, st *DecoderState) bool {
	h := st.Frame
	control := h != nil && h.Op.IsControl()
	switch most := r.maxMessage() + ws.MaxControlFramePayloadSize; {
	case len(st.Head) >= maxHead, len(st.Payload) > most, int64(st.Complete) > int64(len(st.Payload)), int64(st.Valid) > int64(len(st.Payload)):
		return false
	case len(st.Context) > 0 && (st.Params.ContextBits == 0 || len(st.Context) > 1<<st.Params.ContextBits):
		return false
	case st.Message && st.Op != ws.OpText && st.Op != ws.OpBinary, !st.Message && st.Frame == nil && len(st.Payload) > 0:
		return false
	case st.Inflater != nil && (!st.Message || st.Params.ServerBits == 0):
		return false
	case h == nil:
	case len(st.Head) > 0, !control && !st.Message, h.Left <= 0, h.Left > 2*most+64, h.Phase > 3:
		return false
	case control && (!h.Fin || h.Op > ws.OpPong || int(h.Left)+len(st.Payload)-int(st.Complete) > ws.MaxControlFramePayloadSize):
		return false
	case !control && h.Op > ws.OpBinary:
		return false
	}
	s.headLen = uint8(copy(s.head[:], st.Head))
	if len(st.Payload) > 0 {
		s.buf = append(newBuffer(len(st.Payload)), st.Payload...)
	}
	if len(st.Context) > 0 {
		s.context = append(newBuffer(len(st.Context)), st.Context...)
	}
	s.complete, s.valid, s.op, s.empty, s.inMessage = st.Complete, st.Valid, st.Op, min(st.Empty, maxEmpty), st.Message
	if h != nil {
		s.frame, s.inFrame = header{h.Op, h.Fin, h.Deflated, h.Phase, h.Mask, h.Left}, true
	}
	if st.Inflater != nil {
		s.z = inflaters.Get().(*inflater)
		s.z.reset()
		return s.z.restore(st.Inflater, len(s.buf), len(s.context))
	}
	return true
}

// restore is the reverse of export; out and context are the lengths of the output and of
// the context of earlier messages.
func (z *inflater) restore(st *InflaterState, out, context int) bool {
	history := out + context
	if st.Start >= 0 {
		history = out - st.Start
	}
	switch {
	case st.N > 63 || st.Bits>>st.N != 0, st.Fed < int(st.N/8), st.Start < -1, st.Start > out, st.Mode > uint8(blockEnd), st.Length < 0, st.Length > 1<<16:
		return false
	case st.Mode == uint8(matchCopy) && (st.Dist <= 0 || st.Dist > history || st.Length > 258):
		return false
	}
	z.b, z.n, z.fed, z.start, z.mode = st.Bits, st.N, st.Fed, st.Start, inflateMode(st.Mode)
	z.final, z.ended, z.length, z.dist = st.Final, st.Ended, st.Length, st.Dist
	z.literals, z.dists, z.codes, z.at = st.Counts[0], st.Counts[1], st.Counts[2], st.Counts[3]
	z.litCodes, z.distCodes = fixedLit, fixedDist
	switch z.mode {
	case codeLengthLengths, codeLengths:
		if len(st.Lengths) != len(z.lengths) || z.literals < 257 || z.literals > 286 || z.dists < 1 || z.dists > 30 || z.codes < 4 || z.codes > 19 || z.at < 0 {
			return false
		}
		copy(z.lengths[:], st.Lengths)
		for _, n := range z.lengths {
			if n > maxCode {
				return false
			}
		}
		if z.mode == codeLengthLengths {
			return z.at <= z.codes
		}
		return z.at <= z.literals+z.dists && z.dynamic[0].initFrom(st.Dynamic0, 19)
	case blockSymbols, matchCopy:
		if !st.Fixed {
			z.litCodes, z.distCodes = &z.dynamic[0], &z.dynamic[1]
			return z.dynamic[0].initFrom(st.Dynamic0, 286) && z.dynamic[1].initFrom(st.Dynamic1, 30)
		}
	}
	return true
}

// initFrom is init for lengths from outside, at most max of them.
func (h *huffman) initFrom(lengths []byte, max int) bool {
	if len(lengths) > max {
		return false
	}
	for _, n := range lengths {
		if n > maxCode {
			return false
		}
	}
	return h.init(lengths)
}
