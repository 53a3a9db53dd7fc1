package tlsrecord

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
)

// suite is a cipher suite, RFC 8446 appendix B.4.
type suite struct {
	id        uint16
	secretLen int // the length of its hash
	keyLen    int
	expand    func(secret []byte, info string, n int) ([]byte, error)
	aead      func(key []byte) (cipher.AEAD, error)
}

var suites = [...]suite{
	{tls.TLS_AES_128_GCM_SHA256, sha256.Size, 16, expandSHA256, gcm},
	{tls.TLS_AES_256_GCM_SHA384, sha512.Size384, 32, expandSHA384, gcm},
	{tls.TLS_CHACHA20_POLY1305_SHA256, sha256.Size, chacha20poly1305.KeySize, expandSHA256, chacha20poly1305.New},
}

// findSuite returns the index in suites.
func findSuite(id uint16) (uint8, error) {
	for i := range suites {
		if suites[i].id == id {
			return uint8(i), nil
		}
	}
	return 0, fmt.Errorf("tlsrecord: %s is not a cipher suite of TLS 1.3", tls.CipherSuiteName(id))
}

func gcm(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func expandSHA256(secret []byte, info string, n int) ([]byte, error) {
	return hkdf.Expand(sha256.New, secret, info, n)
}

func expandSHA384(secret []byte, info string, n int) ([]byte, error) {
	return hkdf.Expand(sha512.New384, secret, info, n)
}

// expandLabel is HKDF-Expand-Label of section 7.1 with an empty context.
func (s *suite) expandLabel(secret []byte, label string, n int) []byte {
	label = "tls13 " + label
	info := make([]byte, 0, 2+1+len(label)+1)
	info = binary.BigEndian.AppendUint16(info, uint16(n))
	info = append(info, byte(len(label)))
	info = append(info, label...)
	info = append(info, 0)
	out, err := s.expand(secret, string(info), n)
	if err != nil {
		panic("BUG: tlsrecord: expand: " + err.Error()) // n is a constant of a suite
	}
	return out
}
