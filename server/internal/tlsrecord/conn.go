package tlsrecord

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"sync/atomic"
)

const (
	headerLen = 5
	tagLen    = 16 // of each suite
	ivLen     = 12 // likewise

	// MaxPlaintext is the longest plaintext of a record, section 5.1.
	MaxPlaintext = 1 << 14
	// MaxRecord is the longest record, section 5.2, with its header.
	MaxRecord = headerLen + MaxPlaintext + 256
	// Overhead is what Seal adds to the plaintext of a record: header, type, and tag.
	Overhead = headerLen + 1 + tagLen
	// KeyUpdateLen is the length of the record that Seal may put before another one.
	KeyUpdateLen = keyUpdateLen + Overhead

	// rekeyAfter is how many records are encrypted with one key.
	rekeyAfter = 1 << 24
)

// Content types, section 5.1.
const (
	typeChangeCipherSpec = 20
	typeAlert            = 21
	typeHandshake        = 22
	typeApplicationData  = 23
)

// Conn protects the records of a connection. The zero value is not usable, see Init.
type Conn struct {
	// Immutable after Init, except that the content of secrets changes: it holds the
	// secret and the key of both directions, which belong to the reader and to the writer.
	secrets []byte
	suite   uint8 // index in suites

	// Owned by the reader.
	over      uint8 // see fault
	alert     Alert // of over
	useless   uint8 // records in a row without application data
	partial   uint8 // bytes in message
	message   [handshakeHeaderLen]byte
	updatesAt uint32 // see allowUpdate
	in        direction

	// Owned by the writer.
	out direction

	// Atomic.
	owesUpdate atomic.Bool          // the peer has requested a KeyUpdate: the next Seal sends it
	kept       atomic.Pointer[kept] // the AEADs of a busy connection; nil for most
}

// direction is the state of one direction. Its secret and key are in Conn.secrets.
type direction struct {
	seq     uint64 // of the next record, section 5.3
	iv      [ivLen]byte
	builtAt uint32 // when an AEAD was last built, in ticks
}

// Init sets the state of a connection whose handshake has ended, and on which neither side
// has sent anything with its first application traffic secret. suite is the identifier of
// the cipher suite; readSecret protects the peer's records and writeSecret the own ones.
func (c *Conn) Init(suite uint16, readSecret, writeSecret []byte) error {
	i, err := findSuite(suite)
	if err != nil {
		return err
	}
	s := &suites[i]
	for _, secret := range [][]byte{readSecret, writeSecret} {
		if len(secret) != s.secretLen {
			return fmt.Errorf("tlsrecord: a traffic secret has %d bytes: want %d", len(secret), s.secretLen)
		}
	}
	c.suite, c.secrets = i, make([]byte, 2*(s.secretLen+s.keyLen))
	copy(c.secretOf(&c.in), readSecret)
	copy(c.secretOf(&c.out), writeSecret)
	c.setKey(&c.in)
	c.setKey(&c.out)
	_, err = s.aead(c.keyOf(&c.in)) // fails if the process is in FIPS 140-only mode
	return err
}

// part returns the secret and the key of a direction.
func (c *Conn) part(d *direction) []byte {
	n := len(c.secrets) / 2
	if d == &c.in {
		return c.secrets[:n:n]
	}
	return c.secrets[n:]
}

func (c *Conn) secretOf(d *direction) []byte { return c.part(d)[:suites[c.suite].secretLen] }
func (c *Conn) keyOf(d *direction) []byte    { return c.part(d)[suites[c.suite].secretLen:] }

// setKey computes key and IV of a direction from its secret, section 7.3.
func (c *Conn) setKey(d *direction) {
	s, secret := &suites[c.suite], c.secretOf(d)
	key := s.expandLabel(secret, "key", s.keyLen)
	iv := s.expandLabel(secret, "iv", ivLen)
	copy(c.keyOf(d), key)
	copy(d.iv[:], iv)
	clear(key)
	clear(iv)
	d.seq = 0 // section 5.3: each sequence number is set to zero when the key is changed
}

// update replaces the secret of a direction by its successor, section 7.2.
func (c *Conn) update(d *direction) {
	secret := c.secretOf(d)
	next := suites[c.suite].expandLabel(secret, "traffic upd", len(secret))
	copy(secret, next)
	clear(next)
	c.setKey(d)
}

// Erase overwrites the secrets. Neither Open nor Seal may be called afterwards.
func (c *Conn) Erase() {
	clear(c.secrets)
	c.in.iv, c.out.iv = [ivLen]byte{}, [ivLen]byte{}
	c.kept.Store(nil)
}

// build returns the AEAD of a direction.
func (c *Conn) build(d *direction) cipher.AEAD {
	aead, err := suites[c.suite].aead(c.keyOf(d))
	if err != nil {
		panic("BUG: tlsrecord: " + err.Error()) // the key has the length of its suite
	}
	return aead
}

// nonce returns the nonce of the next record, section 5.3, and must be followed by
// advance. It is the IV itself, changed in place, because an array on the stack would be
// allocated for the call of an interface's method.
func (d *direction) nonce() []byte {
	d.xorSeq()
	return d.iv[:]
}

// advance takes the sequence number out of the IV again, and increments it.
func (d *direction) advance() {
	d.xorSeq()
	d.seq++
}

func (d *direction) xorSeq() {
	tail := d.iv[ivLen-8:]
	binary.BigEndian.PutUint64(tail, binary.BigEndian.Uint64(tail)^d.seq)
}
