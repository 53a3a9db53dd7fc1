package replay

// This file has what sessions with AckByResume do in addition: their messages carry the
// positions of all streams, and the positions that the client names when it connects again
// are acknowledgements.

// markCost bounds the bytes that the position of one stream adds to a message: an epoch,
// which has at most 32 bytes, an offset and a name or its hash, in base64.
const markCost = 72

// markCost is what the positions add to a message. The caller holds mu.
func (s *session) markCost() int {
	if s.acks != AckByResume {
		return 0
	}
	return (1 + len(s.topics)) * markCost
}

// writeStored writes a message of a stream. The caller holds mu.
func (s *session) writeStored(st *stream, f Frame, offset uint64) bool {
	m := s.marker()
	if m == nil {
		return s.receiver.WriteStored(f)
	}
	before := st.sent
	st.sent = offset
	ok := m.WriteMarked(f, s)
	st.sent = before
	return ok
}

func (s *session) marker() Marker {
	if s.acks != AckByResume {
		return nil
	}
	m, _ := s.receiver.(Marker)
	return m
}

// mark tells the client its positions when all streams have begun, so that it can resume
// before the first message. The caller holds mu.
func (s *session) mark() {
	m := s.marker()
	if m == nil || s.stopped() {
		return
	}
	all := true
	s.each(func(st *stream) bool {
		all = st.begun
		return all
	})
	if all && !m.WriteMarked(nil, s) {
		s.broken = true
	}
}

// AppendPositions appends the positions of the streams. A stream that the store has not
// placed yet is where the client says that it is, if it says so. The caller holds mu.
func (s *session) AppendPositions(to []Position) []Position {
	to = appendPosition(to, &s.inbox)
	for _, st := range s.topics {
		to = appendPosition(to, st)
	}
	return to
}

func appendPosition(to []Position, st *stream) []Position {
	switch {
	case st.placed:
		return append(to, Position{st.box.Topic, st.epoch, st.sent})
	case st.start.Resume:
		return append(to, Position{st.box.Topic, st.start.Epoch, st.start.Offset})
	}
	return to
}

// acknowledgeStart takes the position that the client resumes from for an acknowledgement,
// if it belongs to the present history. The caller holds mu.
func (s *session) acknowledgeStart(st *stream) {
	if s.acks == AckByResume && st.start.Resume && st.sent == st.start.Offset {
		s.acknowledge(st, st.sent)
	}
}
