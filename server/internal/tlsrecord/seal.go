package tlsrecord

import "slices"

// Seal appends the records that carry b to dst: one for each MaxPlaintext bytes. If a
// KeyUpdate is due, it comes first. An empty b adds nothing.
func (c *Conn) Seal(k *Cache, now uint32, dst, b []byte) []byte {
	for len(b) > 0 {
		if c.out.seq >= rekeyAfter || c.owesUpdate.Load() {
			c.owesUpdate.Store(false)
			dst = c.sealKeyUpdate(k, now, dst, updateNotRequested)
		}
		n := min(len(b), MaxPlaintext)
		dst = c.sealRecord(k, now, dst, typeApplicationData, b[:n])
		b = b[n:]
	}
	return dst
}

// SealAlert appends a record with an alert to dst. Nothing may be sealed after it.
func (c *Conn) SealAlert(k *Cache, now uint32, dst []byte, a Alert) []byte {
	level := byte(levelFatal)
	if a == CloseNotify || a == UserCanceled { // section 6.1
		level = levelWarning
	}
	return c.sealRecord(k, now, dst, typeAlert, []byte{level, byte(a)})
}

// sealKeyUpdate appends a KeyUpdate to dst, and updates the key, section 4.6.3.
func (c *Conn) sealKeyUpdate(k *Cache, now uint32, dst []byte, request byte) []byte {
	dst = c.sealRecord(k, now, dst, typeHandshake, []byte{handshakeKeyUpdate, 0, 0, 1, request})
	c.update(&c.out)
	c.forget(&c.out)
	return dst
}

func (c *Conn) sealRecord(k *Cache, now uint32, dst []byte, contentType byte, content []byte) []byte {
	start := len(dst)
	dst = slices.Grow(dst, len(content)+Overhead)
	length := len(content) + 1 + tagLen
	dst = append(dst, typeApplicationData, 3, 3, byte(length>>8), byte(length)) // section 5.2
	dst = append(dst, content...)
	dst = append(dst, contentType)
	from := start + headerLen
	dst = c.aead(k, now, &c.out).Seal(dst[:from], c.out.nonce(), dst[from:], dst[start:from])
	c.out.advance()
	return dst
}

// Skip accounts for records that were sent with the traffic secret before Init:
// crypto/tls sends session tickets at the end of the handshake. sent are all records of the
// handshake that this side has sent, in order: Skip counts the records that decrypt with the
// secret, and returns their number.
func (c *Conn) Skip(sent []byte) (records int) {
	aead := c.build(&c.out)
	var plain []byte
	for {
		if len(sent) < headerLen {
			return records
		}
		n := headerLen + int(sent[3])<<8 + int(sent[4])
		if n > len(sent) {
			return records
		}
		record := sent[:n]
		sent = sent[n:]
		if record[0] != typeApplicationData {
			continue
		}
		var err error
		plain, err = aead.Open(plain[:0], c.out.nonce(), record[headerLen:], record[:headerLen])
		if err != nil {
			c.out.xorSeq()
			continue
		}
		c.out.advance()
		records++
	}
}
