package limit

import "github.com/go-json-experiment/json"

// meterState is a Meter as JSON.
type meterState struct {
	Messages bucketState `json:"messages,omitzero"`
	Bytes    bucketState `json:"bytes,omitzero"`
	Came     int64       `json:"came,omitzero"`
}

type bucketState struct {
	Left int64  `json:"left"`
	Last uint32 `json:"last"`
}

func (b Bucket) state() bucketState { return bucketState{b.left, b.last} }

// MarshalJSON encodes what the session has left, for another process.
func (m Meter) MarshalJSON() ([]byte, error) {
	return json.Marshal(meterState{m.messages.state(), m.bytes.state(), m.came})
}

// UnmarshalJSON is the reverse of MarshalJSON.
func (m *Meter) UnmarshalJSON(b []byte) error {
	var st meterState
	if err := json.Unmarshal(b, &st); err != nil {
		return err
	}
	*m = Meter{Bucket{st.Messages.Left, st.Messages.Last}, Bucket{st.Bytes.Left, st.Bytes.Last}, st.Came}
	return nil
}
