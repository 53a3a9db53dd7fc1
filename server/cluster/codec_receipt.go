package cluster

import (
	"encoding/binary"
	"math"

	"fanfare/server/node"
)

// maxTrips bounds the buckets of Receipt.RoundTrips.
const maxTrips = 1 << 10

func appendReceipt(b []byte, r *node.Receipt) []byte {
	final := byte(0)
	if r.Final {
		final = 1
	}
	b = append(b, final)
	b = appendNumbers(b, uint64(clamp(r.Written)), uint64(clamp(r.Confirmed)), uint64(clamp(r.Silent)))
	trips := r.RoundTrips[:min(len(r.RoundTrips), maxTrips)]
	b = binary.AppendUvarint(b, uint64(len(trips)))
	for _, n := range trips {
		b = binary.AppendUvarint(b, uint64(n))
	}
	return b
}

func (r *reader) receipt() *node.Receipt {
	out := new(node.Receipt)
	final := r.byte()
	out.Final = final == 1
	out.Written, out.Confirmed, out.Silent = r.int(), r.int(), r.int()
	n := r.uvarint()
	r.failed = r.failed || n > maxTrips || final > 1
	for ; n > 0 && !r.failed; n-- {
		v := r.uvarint()
		r.failed = r.failed || v > math.MaxUint32
		out.RoundTrips = append(out.RoundTrips, uint32(v))
	}
	return out
}
