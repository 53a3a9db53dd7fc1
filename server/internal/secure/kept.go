package secure

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"os"
	"sync"
)

// kept is a tls.Conn that stays in use after its handshake: that of TLS 1.2, whose records
// package tlsrecord does not know. It reads from memory and writes to memory. A read that
// finds too little fails like one that has timed out, which crypto/tls takes for
// temporary, so that it can be repeated.
type kept struct {
	tls *tls.Conn // immutable

	// Owned by the reader.
	in   []byte // whole records
	over error  // of Read

	mu  sync.Mutex
	out []byte // guarded by mu
}

// open is tlsrecord.Conn.Open for this connection.
func (k *kept) open(b []byte) (plain, rest []byte, err error) {
	if k.over != nil {
		return nil, nil, k.over
	}
	end, ok := wholeRecords(b)
	if !ok {
		// Let crypto/tls see the header and reject it.
		end = len(b)
	}
	k.in = b[:end]
	w := 0
	for {
		// The plaintext goes where the records were that crypto/tls has copied before it
		// returns it: at most up to the end of the next record.
		next := end
		if n, _ := recordLen(k.in); n > 0 {
			next = end - len(k.in) + min(n, len(k.in))
		}
		if next == w {
			break
		}
		n, err := k.tls.Read(b[w:next])
		w += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			k.over = err
			k.in = nil
			return b[:w], nil, err
		}
	}
	k.in = nil
	return b[:w], b[end:], nil
}

// maxRecordLen is the longest ciphertext, RFC 5246 section 6.2.3.
const maxRecordLen = 1<<14 + 2048

// recordLen returns the length of the record with which b begins, 0 if it is not known
// yet. It reports false if that is too long.
func recordLen(b []byte) (n int, ok bool) {
	if len(b) < recordHeaderLen {
		return 0, true
	}
	n = int(binary.BigEndian.Uint16(b[3:]))
	return recordHeaderLen + n, n <= maxRecordLen
}

// wholeRecords returns the length of the whole records with which b begins. It reports
// false if another record follows that is too long.
func wholeRecords(b []byte) (end int, ok bool) {
	for {
		n, ok := recordLen(b[end:])
		if !ok {
			return end, false
		}
		if n == 0 || n > len(b)-end {
			return end, true
		}
		end += n
	}
}

// read is the Read of the net.Conn that crypto/tls sees.
func (k *kept) read(p []byte) (int, error) {
	if len(k.in) == 0 {
		return 0, os.ErrDeadlineExceeded // a net.Error that is Temporary
	}
	n, _ := recordLen(k.in)
	if n == 0 {
		n = len(k.in)
	}
	n = copy(p, k.in[:min(n, len(k.in))])
	k.in = k.in[n:]
	return n, nil
}

// write is its Write: of Seal, or of an alert that crypto/tls sends when it reads.
func (k *kept) write(p []byte) (int, error) {
	k.mu.Lock()
	k.out = append(k.out, p...)
	k.mu.Unlock()
	return len(p), nil
}

// seal appends the records of b to dst.
func (k *kept) seal(dst, b []byte) []byte {
	k.tls.Write(b) // fails only after the end of the stream
	return k.take(dst)
}

// end appends the end of the stream to dst: close_notify, or the alert that crypto/tls has
// sent.
func (k *kept) end(dst []byte) []byte {
	k.tls.CloseWrite()
	return k.take(dst)
}

// outKeep is the most memory for sealed bytes that an idle connection keeps.
const outKeep = 1 << 10

func (k *kept) take(dst []byte) []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	dst = append(dst, k.out...)
	if k.out = k.out[:0]; cap(k.out) > outKeep {
		k.out = nil
	}
	return dst
}
