package cluster

import "encoding/binary"

// appendData appends Reply.Data.
func appendData(b []byte, list [][]byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, data := range list {
		b = append(binary.AppendUvarint(b, uint64(len(data))), data...)
	}
	return b
}

// data is the reverse of appendData. Each element is a part of the message.
func (r *reader) data() (list [][]byte) {
	for n := r.uvarint(); n > 0 && !r.failed; n-- {
		data := r.bytes(r.uvarint())
		if len(data) == 0 { // a byte must not become a slice header of 24
			r.failed, r.b = true, nil
			return nil
		}
		list = append(list, data)
	}
	return list
}
