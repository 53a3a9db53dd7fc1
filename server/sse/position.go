package sse

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"slices"

	"fanfare/server"
)

// An id is the positions of a session in all its boxes, in base64 without padding, whose
// alphabet a query needs not encode:
//
//	version   1
//	epochs    their number, and each with its length before it
//	boxes     epoch index*2 + 1 for a topic, [hash of the topic, 6 bytes], offset
//
// Numbers are varints, encoding/binary. Positions of most sessions share one or two epochs, so
// that the inbox takes about 20 characters, and each topic 11 more.
const idVersion = 1

var encoding = base64.RawURLEncoding

// maxID bounds what is decoded: 1,000 topics, and more than a request may have.
const maxID = 16 << 10

// topicHash returns FNV-1a of a name, cut to 48 bits. A session has a hundred topics or so,
// and its client chooses them itself: if two have the same hash, it is the one concerned.
func topicHash(topic string) (h [6]byte) {
	sum := uint64(0xcbf29ce484222325)
	for i := range len(topic) {
		sum = (sum ^ uint64(topic[i])) * 0x100000001b3
	}
	for i := range h {
		h[i] = byte(sum >> (8 * i))
	}
	return h
}

// appendID appends the id of positions, of which each has an epoch. It does not allocate if b
// has room.
func appendID(b []byte, at []server.Position) []byte {
	var scratch [2 << 10]byte
	var names [8]string
	epochs := names[:0]
	for i := range at {
		if !slices.Contains(epochs, at[i].Epoch) {
			epochs = append(epochs, at[i].Epoch)
		}
	}
	raw := binary.AppendUvarint(append(scratch[:0], idVersion), uint64(len(epochs)))
	for _, e := range epochs {
		raw = append(binary.AppendUvarint(raw, uint64(len(e))), e...)
	}
	for i := range at {
		p := &at[i]
		tag := uint64(slices.Index(epochs, p.Epoch)) * 2
		if p.Topic == "" {
			raw = binary.AppendUvarint(raw, tag)
		} else {
			h := topicHash(p.Topic)
			raw = append(binary.AppendUvarint(raw, tag+1), h[:]...)
		}
		raw = binary.AppendUvarint(raw, p.Offset)
	}
	return encoding.AppendEncode(b, raw)
}

var errID = errors.New("malformed")

// parseID returns the positions of an id in the inbox and in those of topics that it has.
func parseID(id string, topics []string) (map[string]server.Position, error) {
	if len(id) > maxID {
		return nil, errID
	}
	raw, err := encoding.DecodeString(id)
	if err != nil || len(raw) == 0 || raw[0] != idVersion {
		return nil, errID
	}
	r := reader{raw[1:], false}
	epochs := make([]string, 0, 2)
	for n := r.number(); n > 0 && !r.bad; n-- {
		epochs = append(epochs, string(r.bytes(r.number())))
	}
	names := make(map[[6]byte]string, len(topics))
	for _, t := range topics {
		names[topicHash(t)] = t
	}
	positions := make(map[string]server.Position)
	for len(r.left) > 0 && !r.bad {
		tag := r.number()
		known, topic := true, ""
		if tag&1 != 0 {
			topic, known = names[[6]byte(r.fixed(6))]
		}
		offset := r.number()
		if tag/2 >= uint64(len(epochs)) || offset > math.MaxInt64 || epochs[tag/2] == "" {
			return nil, errID
		}
		if !known {
			continue
		}
		if _, twice := positions[topic]; twice {
			return nil, errID
		}
		positions[topic] = server.Position{Topic: topic, Epoch: epochs[tag/2], Offset: offset}
	}
	if r.bad || len(epochs) == 0 {
		return nil, errID
	}
	return positions, nil
}

// reader takes an id apart. bad is set at the first value that is not there.
type reader struct {
	left []byte
	bad  bool
}

func (r *reader) number() uint64 {
	v, n := binary.Uvarint(r.left)
	if n <= 0 {
		r.left, r.bad = nil, true
		return 0
	}
	r.left = r.left[n:]
	return v
}

// bytes returns the next n bytes; at most 32, which an epoch has at most.
func (r *reader) bytes(n uint64) []byte {
	if n > 32 || n > uint64(len(r.left)) {
		r.left, r.bad = nil, true
		return nil
	}
	b := r.left[:n]
	r.left = r.left[n:]
	return b
}

// fixed is bytes that returns n bytes in any case.
func (r *reader) fixed(n int) []byte {
	if b := r.bytes(uint64(n)); b != nil {
		return b
	}
	return make([]byte, n)
}
