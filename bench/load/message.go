package load

import (
	"bytes"
	"strings"
)

// A Message is the content of a payload: printable ASCII that is also a JSON string, so that a server may treat it as text,
// binary or JSON. A receiver can tell whether it is complete.
//
//	"K TTTTTTT SSSSSSSS NNNNNNNNNNNNNNNN filling "      (without the spaces; digits are hexadecimal)
type Message struct {
	Kind   byte   // one of the constants below
	Target uint32 // the connection or topic that it is for, below 1<<28
	Seq    uint32 // counts up by one per Kind and Target
	At     int64  // when it was sent, or was due, on the clock of Now
}

// Kinds of messages.
const (
	KindEcho      = 'E' // Target is the connection that sent it
	KindBroadcast = 'B' // Target is 0
	KindUser      = 'U' // Target is the user
	KindTopic     = 'T' // Target is the topic
)

const (
	headSize = 1 + 1 + 7 + 8 + 16
	// MinSize is the length of the shortest message.
	MinSize = headSize + 1
	// MaxSize is the length of the longest message.
	MaxSize = 1 << 20
)

// filling is the source of the rest of every message. 61 is prime, so a shift by any power of two is detected.
var filling = []byte(strings.Repeat("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxy", MaxSize/61+1))

const digits = "0123456789abcdef"

// Append appends the message, size bytes long, to dst.
func (m Message) Append(dst []byte, size int) []byte {
	size = min(max(size, MinSize), MaxSize)
	dst = append(dst, '"', m.Kind)
	dst = appendHex(dst, uint64(m.Target), 7)
	dst = appendHex(dst, uint64(m.Seq), 8)
	dst = appendHex(dst, uint64(m.At), 16)
	dst = append(dst, filling[:size-MinSize]...)
	return append(dst, '"')
}

// Parse reads a message and reports whether every byte is as Append wrote it. It accepts one line feed after the closing
// quote: the Encoder of encoding/json adds it, which the classic server uses.
func Parse(p []byte) (m Message, ok bool) {
	if n := len(p); n > MinSize && p[n-1] == '\n' {
		p = p[:n-1]
	}
	if len(p) < MinSize || len(p) > MaxSize || p[0] != '"' || p[len(p)-1] != '"' {
		return m, false
	}
	m.Kind = p[1]
	target, ok1 := parseHex(p[2:9])
	seq, ok2 := parseHex(p[9:17])
	at, ok3 := parseHex(p[17:33])
	m.Target, m.Seq, m.At = uint32(target), uint32(seq), int64(at)
	body := p[headSize : len(p)-1]
	return m, ok1 && ok2 && ok3 && bytes.Equal(body, filling[:len(body)])
}

func appendHex(dst []byte, v uint64, width int) []byte {
	for i := width - 1; i >= 0; i-- {
		dst = append(dst, digits[v>>(4*i)&15])
	}
	return dst
}

func parseHex(p []byte) (v uint64, ok bool) {
	bad := byte(0)
	for _, b := range p {
		d := hexValue[b]
		bad |= d
		v = v<<4 | uint64(d&15)
	}
	return v, bad < 16
}

// hexValue returns 0 to 15 for a lower-case hexadecimal digit, and 255 for any other byte.
var hexValue = func() (t [256]byte) {
	for i := range t {
		t[i] = 255
	}
	for i := range 16 {
		t[digits[i]] = byte(i)
	}
	return t
}()
