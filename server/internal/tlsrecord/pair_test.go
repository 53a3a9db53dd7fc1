package tlsrecord

import (
	"bytes"
	"crypto/cipher"
	"crypto/tls"
	"errors"
	"testing"
)

// everySuite runs a test for each cipher suite of TLS 1.3.
func everySuite(t *testing.T, f func(t *testing.T, suite uint16)) {
	for i := range suites {
		t.Run(tls.CipherSuiteName(suites[i].id), func(t *testing.T) { f(t, suites[i].id) })
	}
}

// pair returns both ends of a connection.
func pair(t testing.TB, id uint16) (server, client *Conn) {
	t.Helper()
	i, err := findSuite(id)
	if err != nil {
		t.Fatal(err)
	}
	fromClient := bytes.Repeat([]byte{1}, suites[i].secretLen)
	fromServer := bytes.Repeat([]byte{2}, suites[i].secretLen)
	server, client = new(Conn), new(Conn)
	if err := errors.Join(server.Init(id, fromClient, fromServer), client.Init(id, fromServer, fromClient)); err != nil {
		t.Fatal(err)
	}
	return server, client
}

// noCache keeps no AEAD; tests do not care about time.
var noCache = new(Cache)

const noon = 1000 // ticks

func (c *Conn) seal(b []byte) []byte { return c.Seal(noCache, noon, nil, b) }

// open gives Open a copy of b.
func (c *Conn) open(b []byte) (plain, rest []byte, err error) {
	return c.Open(noCache, noon, bytes.Clone(b))
}

// sealInner returns a record whose TLSInnerPlaintext is given, and whose header is as
// given: what a broken or hostile peer may send.
func (c *Conn) sealInner(header [3]byte, inner []byte) []byte {
	n := len(inner) + tagLen
	record := append(header[:], byte(n>>8), byte(n))
	var aead cipher.AEAD = c.build(&c.out)
	record = aead.Seal(record, c.out.nonce(), inner, record)
	c.out.advance()
	return record
}

var ordinary = [3]byte{typeApplicationData, 3, 3}

func (c *Conn) sealType(contentType byte, content []byte) []byte {
	return c.sealInner(ordinary, append(bytes.Clone(content), contentType))
}
