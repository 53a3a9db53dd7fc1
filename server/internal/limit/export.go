package limit

// MeterState is a Meter as plain data, for another process. It has no methods of package
// json: those would link it into every program with a Meter.
type MeterState struct {
	Messages BucketState `json:"messages,omitzero"`
	Bytes    BucketState `json:"bytes,omitzero"`
	Came     int64       `json:"came,omitzero"`
}

// BucketState is a Bucket as plain data.
type BucketState struct {
	Left int64  `json:"left"`
	Last uint32 `json:"last"`
}

func (b Bucket) state() BucketState { return BucketState{b.left, b.last} }

// Export returns what the session has left.
func (m *Meter) Export() MeterState { return MeterState{m.messages.state(), m.bytes.state(), m.came} }

// Import is the reverse of Export.
func (m *Meter) Import(st *MeterState) {
	*m = Meter{Bucket{st.Messages.Left, st.Messages.Last}, Bucket{st.Bytes.Left, st.Bytes.Last}, st.Came}
}
