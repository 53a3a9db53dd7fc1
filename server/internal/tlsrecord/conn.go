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

	// halfLen is enough for a secret and a key of AES-128-GCM, which clients with AES in
	// hardware use, and for a secret of AES-256-GCM.
	halfLen = 48
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
	// Halves for the reader and the writer: the secret, and the key if there is room.
	secrets [2 * halfLen]byte

	suite uint8 // index in suites. Immutable after Init.

	// Owned by the reader.
	over      uint8  // see fault
	alert     Alert  // of over
	useless   uint8  // records in a row without application data
	partial   uint8  // bytes received of an incomplete KeyUpdate, see openHandshake
	updatesAt uint32 // see allowUpdate

	// Atomic.
	owesUpdate atomic.Bool // the peer has requested a KeyUpdate: the next Seal sends it

	// Owned by the reader.
	in direction

	// Owned by the writer.
	out direction

	// Atomic.
	kept atomic.Pointer[kept] // the AEADs of a busy connection; nil for most
}

// direction is the state of one direction. Its secret is in Conn.secrets.
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
	c.suite = i
	copy(c.secretOf(&c.in), readSecret)
	copy(c.secretOf(&c.out), writeSecret)
	c.setKey(&c.in)
	c.setKey(&c.out)
	_, err = c.newAEAD(&c.in) // fails if the process is in FIPS 140-only mode
	return err
}

// half returns the part of secrets that belongs to a direction.
func (c *Conn) half(d *direction) []byte {
	if d == &c.in {
		return c.secrets[:halfLen]
	}
	return c.secrets[halfLen:]
}

func (c *Conn) secretOf(d *direction) []byte { return c.half(d)[:suites[c.suite].secretLen] }

// storedKey returns where the key of a direction is stored; nil if there is no room. Such
// a key is derived when an AEAD is built, which then takes twice as long.
func (c *Conn) storedKey(d *direction) []byte {
	s := &suites[c.suite]
	if s.secretLen+s.keyLen > halfLen {
		return nil
	}
	return c.half(d)[s.secretLen:][:s.keyLen]
}

// deriveKey computes the key of a direction from its secret, section 7.3.
func (c *Conn) deriveKey(d *direction) []byte {
	s := &suites[c.suite]
	return s.expandLabel(c.secretOf(d), "key", s.keyLen)
}

// setKey computes IV and key of a direction from its secret, section 7.3.
func (c *Conn) setKey(d *direction) {
	iv := suites[c.suite].expandLabel(c.secretOf(d), "iv", ivLen)
	copy(d.iv[:], iv)
	clear(iv)
	if stored := c.storedKey(d); stored != nil {
		key := c.deriveKey(d)
		copy(stored, key)
		clear(key)
	}
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
	clear(c.secrets[:])
	c.in.iv, c.out.iv = [ivLen]byte{}, [ivLen]byte{}
	c.kept.Store(nil)
}

// build returns the AEAD of a direction.
func (c *Conn) build(d *direction) cipher.AEAD {
	aead, err := c.newAEAD(d)
	if err != nil {
		panic("BUG: tlsrecord: " + err.Error()) // the key has the length of its suite
	}
	return aead
}

func (c *Conn) newAEAD(d *direction) (cipher.AEAD, error) {
	key := c.storedKey(d)
	if key == nil {
		key = c.deriveKey(d)
		defer clear(key)
	}
	return suites[c.suite].aead(key)
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
