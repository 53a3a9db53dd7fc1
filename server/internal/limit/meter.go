package limit

// Rates are the limits of one session, per second.
type Rates struct {
	Messages int64
	Bytes    int64
	AtOnce   int64 // bytes that a session that was quiet may send at once
}

// Meter measures what a session sends. A session that sends nothing needs none.
type Meter struct {
	messages, bytes Bucket
	came            int64 // bytes since the last message that was not a control frame
}

// Read takes the bytes of one read.
func (m *Meter) Read(r *Rates, n int, now uint32) bool {
	return m.bytes.TakeOf(int64(n), r.Bytes, r.AtOnce, now)
}

// Unread returns n bytes of a read that will be taken again.
func (m *Meter) Unread(n int) { m.bytes.PutBack(int64(n)) }

// Consumed counts n bytes that the decoder used.
func (m *Meter) Consumed(n int) { m.came += int64(n) }

// Message takes a message of n bytes. A compressed message also costs the bytes by
// which it grew when it was inflated: 90 bytes on the wire may have cost the work
// for 64 KiB.
func (m *Meter) Message(r *Rates, n int, now uint32) bool {
	if !m.messages.Take(1, r.Messages, now) {
		return false
	}
	more := max(int64(n)-m.came, 0)
	m.came = 0
	return m.bytes.TakeOf(more, r.Bytes, r.AtOnce, now)
}

// Control takes a control frame, which may come between the fragments of a message.
func (m *Meter) Control(r *Rates, now uint32) bool {
	return m.messages.Take(1, r.Messages, now)
}
