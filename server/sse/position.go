package sse

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"unicode/utf8"

	"fanfare/server"
)

// An id is the positions of a session in all its boxes, in base64 without padding, whose
// alphabet a query needs not encode:
//
//	version   2
//	user      hash of the name, 6 bytes
//	epochs    their number, and each with its length before it
//	boxes     epoch index*2 + 1 for a topic, [hash of the topic, 6 bytes], offset
//
// The position of another user would skip, and acknowledge, what this one has not received:
// the epochs of such an id count as unknown, so that all unread messages follow a gap. So do
// those of version 1, which had no user.
//
// Numbers are varints, encoding/binary. Positions of most sessions share one or two epochs, so
// that the inbox takes about 28 characters, and each topic 11 more.
const idVersion, idWithoutUser = 2, 1

// foreign is the epoch of positions in the id of another user. No history has it.
const foreign = "?"

var encoding = base64.RawURLEncoding

// maxID bounds what is decoded: 1,000 topics, and more than a request may have.
const maxID = 16 << 10

// nameHash returns FNV-1a of the name of a topic or user, cut to 48 bits. A session has a
// hundred topics or so, and its client chooses them itself: if two have the same hash, it is
// the one concerned.
func nameHash(name string) (h [6]byte) {
	sum := uint64(0xcbf29ce484222325)
	for i := range len(name) {
		sum = (sum ^ uint64(name[i])) * 0x100000001b3
	}
	for i := range h {
		h[i] = byte(sum >> (8 * i))
	}
	return h
}

// appendID appends the id of a user's positions, of which each has an epoch. It does not
// allocate if b has room.
func appendID(b []byte, user string, at []server.Position) []byte {
	var scratch [2 << 10]byte
	var names [8]string
	epochs := names[:0]
	for i := range at {
		if !slices.Contains(epochs, at[i].Epoch) {
			epochs = append(epochs, at[i].Epoch)
		}
	}
	owner := nameHash(user)
	raw := append(append(scratch[:0], idVersion), owner[:]...)
	raw = binary.AppendUvarint(raw, uint64(len(epochs)))
	for _, e := range epochs {
		raw = append(binary.AppendUvarint(raw, uint64(len(e))), e...)
	}
	for i := range at {
		p := &at[i]
		tag := uint64(slices.Index(epochs, p.Epoch)) * 2
		if p.Topic == "" {
			raw = binary.AppendUvarint(raw, tag)
		} else {
			h := nameHash(p.Topic)
			raw = append(binary.AppendUvarint(raw, tag+1), h[:]...)
		}
		raw = binary.AppendUvarint(raw, p.Offset)
	}
	return encoding.AppendEncode(b, raw)
}

var errID = errors.New("malformed")

// parseID returns the positions of an id in the inbox and in those of topics that it has. If
// the id is not one of the user, all have the epoch foreign.
func parseID(id, user string, topics []string) (map[string]server.Position, error) {
	if len(id) > maxID {
		return nil, errID
	}
	raw, err := encoding.DecodeString(id)
	if err != nil || len(raw) == 0 || raw[0] != idVersion && raw[0] != idWithoutUser {
		return nil, errID
	}
	r := reader{raw[1:], false}
	own := raw[0] == idVersion && [6]byte(r.fixed(6)) == nameHash(user)
	epochs := make([]string, 0, 2)
	for n := r.number(); n > 0 && !r.bad; n-- {
		epochs = append(epochs, string(r.bytes(r.number())))
	}
	names := make(map[[6]byte]string, len(topics))
	for _, t := range topics {
		names[nameHash(t)] = t
	}
	positions := make(map[string]server.Position)
	for len(r.left) > 0 && !r.bad {
		tag := r.number()
		known, topic := true, ""
		if tag&1 != 0 {
			topic, known = names[[6]byte(r.fixed(6))]
		}
		offset := r.number()
		if tag/2 >= uint64(len(epochs)) || offset > math.MaxInt64 || epochs[tag/2] == "" || !utf8.ValidString(epochs[tag/2]) {
			return nil, errID
		}
		if !known {
			continue
		}
		if _, twice := positions[topic]; twice {
			return nil, errID
		}
		epoch := epochs[tag/2]
		if !own {
			epoch = foreign
		}
		positions[topic] = server.Position{Topic: topic, Epoch: epoch, Offset: offset}
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
