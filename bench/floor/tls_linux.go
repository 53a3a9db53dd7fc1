package floor

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"net"
	"runtime"
	"strings"
	"time"
)

const (
	headerLen    = 5
	maxPlaintext = 1 << 14 // of a record, RFC 8446 section 5.1
	// collectEvery handshakes the loop collects their garbage: the collector is off.
	collectEvery = 1000
)

// loadTLS returns a configuration with the only cipher suite of the floor, which is what clients with AES in hardware
// and crypto/tls agree on. It sends no session tickets, which would count as records.
func loadTLS(cert, key string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("floor: certificate: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true}, nil
}

// A secured is the TLS 1.3 of a connection, and the net.Conn that crypto/tls sees in the handshake, which is a coroutine.
type secured struct {
	l  *loop
	fd int

	in      []byte // received, not used
	left    int    // bytes of the record that crypto/tls reads
	resume  func() (struct{}, bool)
	stop    func()
	wait    func(struct{}) bool
	secrets map[string][]byte
	err     error

	receiver, sender direction
}

// A direction protects the records of one direction.
type direction struct {
	aead cipher.AEAD
	iv   [12]byte
	seq  uint64
}

func (l *loop) secure(fd int) {
	s := &secured{l: l, fd: fd, secrets: map[string][]byte{}}
	cfg := l.config.Clone()
	cfg.KeyLogWriter = s
	tc := tls.Server(conn13{s}, cfg)
	s.resume, s.stop = iter.Pull(func(yield func(struct{}) bool) {
		s.wait = yield
		if s.err = tc.Handshake(); s.err == nil {
			s.err = s.install(tc.ConnectionState().CipherSuite)
		}
	})
	l.tls[fd] = s
	if l.secured++; l.secured%collectEvery == 0 {
		runtime.GC()
	}
}

// Write takes the lines of the key log.
func (s *secured) Write(line []byte) (int, error) {
	if f := strings.Fields(string(line)); len(f) == 3 {
		secret, err := hex.DecodeString(f[2])
		if err != nil {
			return 0, err
		}
		s.secrets[f[0]] = secret
	}
	return len(line), nil
}

func (s *secured) install(suite uint16) error {
	if suite != tls.TLS_AES_128_GCM_SHA256 {
		return errors.New("floor: " + tls.CipherSuiteName(suite))
	}
	s.receiver = newDirection(s.secrets["CLIENT_TRAFFIC_SECRET_0"])
	s.sender = newDirection(s.secrets["SERVER_TRAFFIC_SECRET_0"])
	s.secrets = nil
	return nil
}

// newDirection derives key and IV, RFC 8446 section 7.3.
func newDirection(secret []byte) (d direction) {
	expand := func(label string, n int) []byte {
		label = "tls13 " + label
		out, err := hkdf.Expand(sha256.New, secret, "\x00"+string(rune(n))+string(rune(len(label)))+label+"\x00", n)
		if err != nil {
			panic(err)
		}
		return out
	}
	block, err := aes.NewCipher(expand("key", 16))
	if err != nil {
		panic(err)
	}
	if d.aead, err = cipher.NewGCM(block); err != nil {
		panic(err)
	}
	copy(d.iv[:], expand("iv", 12))
	return d
}

func (d *direction) flip() {
	tail := d.iv[4:]
	binary.BigEndian.PutUint64(tail, binary.BigEndian.Uint64(tail)^d.seq)
}

// open decrypts in place. ok is false if the connection must be closed.
func (s *secured) open(in []byte) (plain []byte, ok bool) {
	if len(s.in) > 0 || s.resume != nil {
		s.in = append(s.in, in...)
		in = s.in
	}
	if s.resume != nil {
		if _, waits := s.resume(); waits {
			return nil, true
		}
		s.resume = nil
		if s.err != nil {
			return nil, false
		}
		in = s.in
	}
	end, at := 0, in
	for len(at) >= headerLen {
		n := headerLen + int(binary.BigEndian.Uint16(at[3:]))
		if n > len(at) {
			break
		}
		s.receiver.flip()
		content, err := s.receiver.aead.Open(at[headerLen:headerLen], s.receiver.iv[:], at[headerLen:n], at[:headerLen])
		s.receiver.flip()
		s.receiver.seq++
		if err != nil || len(content) == 0 || content[len(content)-1] != 23 {
			return nil, false // also at close_notify
		}
		end += copy(in[end:], content[:len(content)-1])
		at = at[n:]
	}
	if plain = in[:end]; len(at) == 0 && cap(s.in) > 0 {
		s.in = nil
	} else if len(at) > 0 {
		s.in = append([]byte(nil), at...)
	}
	return plain, true
}

// seal appends the records of p to dst.
func (s *secured) seal(dst, p []byte) []byte {
	for len(p) > 0 {
		n := min(len(p), maxPlaintext)
		length := n + 1 + 16
		start := len(dst)
		dst = append(dst, 23, 3, 3, byte(length>>8), byte(length))
		dst = append(append(dst, p[:n]...), 23)
		s.sender.flip()
		dst = s.sender.aead.Seal(dst[:start+headerLen], s.sender.iv[:], dst[start+headerLen:], dst[start:start+headerLen])
		s.sender.flip()
		s.sender.seq++
		p = p[n:]
	}
	return dst
}

// conn13 is the net.Conn of a secured.
type conn13 struct{ s *secured }

func (c conn13) Read(p []byte) (int, error) {
	s := c.s
	for len(s.in) == 0 || s.left == 0 && len(s.in) < headerLen {
		if !s.wait(struct{}{}) {
			return 0, net.ErrClosed
		}
	}
	if s.left == 0 { // one record at a time, so that crypto/tls reads nothing ahead
		s.left = headerLen + int(binary.BigEndian.Uint16(s.in[3:]))
	}
	n := copy(p, s.in[:min(len(s.in), s.left)])
	s.in, s.left = s.in[n:], s.left-n
	return n, nil
}

func (c conn13) Write(p []byte) (int, error) {
	c.s.l.send(c.s.fd, &c.s.l.conns[c.s.fd], p)
	return len(p), nil
}

func (conn13) Close() error                     { return nil }
func (conn13) LocalAddr() net.Addr              { return nil }
func (conn13) RemoteAddr() net.Addr             { return nil }
func (conn13) SetDeadline(time.Time) error      { return nil }
func (conn13) SetReadDeadline(time.Time) error  { return nil }
func (conn13) SetWriteDeadline(time.Time) error { return nil }
