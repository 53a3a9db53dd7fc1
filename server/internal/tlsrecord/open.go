package tlsrecord

import (
	"encoding/binary"
	"io"
	"math"
)

const (
	// maxUseless is how many records in a row may carry no application data: as many as
	// crypto/tls permits.
	maxUseless = 16

	handshakeHeaderLen       = 4
	handshakeKeyUpdate       = 24 // section 4
	keyUpdateLen             = handshakeHeaderLen + 1
	updateNotRequested       = 0 // section 4.6.3
	updateRequested          = 1
	updateEvery              = 10 // ticks: one second of a clock that ticks every 100 ms
	updatesAtOnce            = 16
	stillOpen          uint8 = 0 // values of Conn.over
	peerClosed         uint8 = 1
	peerAlerted        uint8 = 2
	peerViolated       uint8 = 3
)

// fault returns the error of a connection that is over.
func (c *Conn) fault() error {
	switch c.over {
	case peerClosed:
		return io.EOF
	case peerAlerted:
		return &PeerAlert{c.alert}
	case peerViolated:
		return &Error{c.alert}
	}
	return nil
}

func (c *Conn) violated(a Alert) { c.over, c.alert = peerViolated, a }

// Over reports whether Open will return an error whatever it is given.
func (c *Conn) Over() bool { return c.over != stillOpen }

// Open decrypts the complete records at the front of b, in place. It returns their
// application data and the incomplete record that follows, both part of b. After an
// error rest is nil: what follows is ignored (section 6.1).
func (c *Conn) Open(k *Cache, now uint32, b []byte) (plain, rest []byte, err error) {
	end := 0 // of the plaintext
	rest = b
	for c.over == stillOpen {
		n, alert := recordLen(rest)
		if alert != 0 {
			c.violated(alert)
			break
		}
		if n == 0 || n > len(rest) {
			return b[:end], rest, nil
		}
		if content := c.openRecord(k, now, rest[:n]); len(content) > 0 {
			end += copy(b[end:], content)
		}
		rest = rest[n:]
	}
	return b[:end], nil, c.fault()
}

// recordLen returns the length of the record with which b begins, 0 if that is not
// known yet, or the alert with which its header is rejected.
func recordLen(b []byte) (int, Alert) {
	if len(b) > 0 && b[0] != typeApplicationData {
		// Section 5: all records are protected now, and a change_cipher_spec is accepted
		// during the handshake only.
		return 0, UnexpectedMessage
	}
	if len(b) < headerLen {
		return 0, 0
	}
	// b[1:3] is legacy_record_version, which section 5.1 wants ignored. It is
	// authenticated with the record.
	n := int(binary.BigEndian.Uint16(b[3:]))
	if n > MaxPlaintext+256 {
		return 0, RecordOverflow // section 5.2
	}
	return headerLen + n, 0
}

// openRecord processes one record and returns its application data.
func (c *Conn) openRecord(k *Cache, now uint32, record []byte) []byte {
	header, payload := record[:headerLen], record[headerLen:]
	if c.in.seq == math.MaxUint64 { // section 5.3: sequence numbers must not wrap
		c.violated(InternalError)
		return nil
	}
	if len(payload) < tagLen+1 {
		c.violated(BadRecordMAC) // shorter than any ciphertext
		return nil
	}
	inner, err := c.aead(k, now, &c.in).Open(payload[:0], c.in.nonce(), payload, header)
	c.in.advance()
	if err != nil {
		c.violated(BadRecordMAC) // section 5.2
		return nil
	}
	if len(inner) > MaxPlaintext+1 {
		c.violated(RecordOverflow) // section 5.4: with its padding
		return nil
	}
	last := len(inner) - 1
	for last >= 0 && inner[last] == 0 {
		last--
	}
	if last < 0 {
		c.violated(UnexpectedMessage) // section 5.4: nothing but padding
		return nil
	}
	content := inner[:last]
	if c.partial > 0 && inner[last] != typeHandshake {
		c.violated(UnexpectedMessage) // section 5.1: no other type between parts of a message
		return nil
	}
	if inner[last] == typeApplicationData && len(content) > 0 {
		c.useless = 0
		return content
	}
	if c.useless++; c.useless > maxUseless {
		c.violated(UnexpectedMessage)
		return nil
	}
	switch inner[last] {
	case typeApplicationData: // section 5.1 permits empty ones
	case typeAlert:
		c.openAlert(content)
	case typeHandshake:
		c.openHandshake(now, content)
	default:
		c.violated(UnexpectedMessage) // section 5
	}
	return nil
}

func (c *Conn) openAlert(content []byte) {
	switch {
	case len(content) == 0:
		c.violated(UnexpectedMessage) // section 5.4
	case len(content) != 2:
		c.violated(DecodeError) // section 5.1: exactly one alert, not fragmented
	case Alert(content[1]) == CloseNotify:
		c.over = peerClosed
	case Alert(content[1]) == UserCanceled: // section 6.1: close_notify follows
	default:
		// Section 6: the level is ignored, and unknown alerts are error alerts.
		c.over, c.alert = peerAlerted, Alert(content[1])
	}
}

// openHandshake processes messages that follow the handshake, section 4.6. Only
// KeyUpdate is permitted.
func (c *Conn) openHandshake(now uint32, content []byte) {
	if len(content) == 0 {
		c.violated(UnexpectedMessage) // section 5.1: no empty fragments of handshake messages
		return
	}
	// What is wrong with a message is known as early as its type and length are, so the
	// bytes that came before need not be kept.
	header := [handshakeHeaderLen]byte{handshakeKeyUpdate, 0, 0, keyUpdateLen - handshakeHeaderLen}
	for ; c.partial < handshakeHeaderLen; c.partial++ {
		if len(content) == 0 {
			return
		}
		if content[0] != header[c.partial] {
			if c.partial == 0 {
				c.violated(UnexpectedMessage) // section 4.6: no other message was asked for
			} else {
				c.violated(DecodeError) // section 6.2
			}
			return
		}
		content = content[1:]
	}
	if len(content) == 0 {
		return
	}
	c.partial = 0
	request, content := content[0], content[1:]
	switch {
	case request > updateRequested:
		c.violated(IllegalParameter) // section 4.6.3
	case len(content) > 0:
		c.violated(UnexpectedMessage) // section 5.1: a key change is at the end of a record
	case !c.allowUpdate(now):
		c.violated(UnexpectedMessage)
	default:
		c.update(&c.in)
		c.forget(&c.in)
		if request == updateRequested {
			// Section 4.6.3: ours precedes our next application data, and one
			// answers several requests.
			c.owesUpdate.Store(true)
		}
	}
}

// allowUpdate limits the rate of KeyUpdates: updatesAt is when the last one would have
// come if they were updateEvery apart.
func (c *Conn) allowUpdate(now uint32) bool {
	at := max(c.updatesAt, now) + updateEvery
	if at-now > updateEvery*updatesAtOnce {
		return false
	}
	c.updatesAt = at
	return true
}
