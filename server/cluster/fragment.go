package cluster

import "errors"

const (
	// maxMessage bounds one command or reply. It travels in fragments if the NATS
	// server allows less in one message.
	maxMessage = 32 << 20
	// maxPartial bounds the unfinished messages that one reassembler holds.
	maxPartial = 2 * maxMessage
	// fragmentHeader is the most that a fragment adds: the header and three
	// uvarints of at most 10, 5 and 5 bytes.
	fragmentHeader = headerSize + 20
	// minPayload is the least max_payload of a NATS server that nodes can use: a
	// beat fits.
	minPayload = 1 << 10
)

// split returns the NATS messages, of at most limit bytes each, that carry m.
// NATS keeps the order of what one connection publishes to one subject, so the
// fragments of a message arrive in order and without others of the same sender
// and subject between them, or do not arrive.
func split(m []byte, limit int, from nodeID, number uint64) [][]byte {
	if len(m) <= limit {
		return [][]byte{m}
	}
	size := limit - fragmentHeader
	count := (len(m) + size - 1) / size
	parts := make([][]byte, 0, count)
	for i := range count {
		part := m[i*size : min((i+1)*size, len(m))]
		b := make([]byte, 0, fragmentHeader+len(part))
		b = appendNumbers(appendHeader(b, kindFragment, from), number, uint64(i), uint64(count))
		parts = append(parts, append(b, part...))
	}
	return parts
}

var errFragment = errors.New("fragment does not continue its message")

// reassembler joins the fragments that arrive on one channel. It belongs to one
// goroutine.
type reassembler struct {
	parts map[nodeID]*partial
	bytes int // of all parts
}

// partial is the message of one sender that is not complete.
type partial struct {
	number, next, count uint64
	body                []byte
}

// add takes the body of a fragment. It returns the whole message when that was
// the last one.
func (r *reassembler) add(from nodeID, body []byte) (whole []byte, err error) {
	in := reader{b: body}
	number, index, count := in.uvarint(), in.uvarint(), in.uvarint()
	data := in.rest()
	if in.failed || index >= count {
		r.drop(from)
		return nil, errTruncated
	}
	p := r.parts[from]
	if index == 0 {
		r.drop(from)
		if r.parts == nil {
			r.parts = make(map[nodeID]*partial)
		}
		p = &partial{number: number, count: count}
		r.parts[from] = p
	}
	if p == nil || p.number != number || p.count != count || p.next != index {
		r.drop(from)
		return nil, errFragment
	}
	if len(p.body)+len(data) > maxMessage {
		r.drop(from)
		return nil, errTruncated
	}
	for r.bytes+len(data) > maxPartial {
		r.evict(from)
	}
	p.body = append(p.body, data...)
	p.next++
	r.bytes += len(data)
	if p.next < p.count {
		return nil, nil
	}
	r.drop(from)
	return p.body, nil
}

// drop forgets the unfinished message of a sender.
func (r *reassembler) drop(from nodeID) {
	if p := r.parts[from]; p != nil {
		r.bytes -= len(p.body)
		delete(r.parts, from)
	}
}

// evict drops the unfinished message of another sender, such as one that ended in
// the middle: its next fragment, if there is one, is then an error.
func (r *reassembler) evict(except nodeID) {
	for id := range r.parts {
		if id != except {
			r.drop(id)
			return
		}
	}
}
