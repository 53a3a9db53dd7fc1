package inbox

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Message as it is stored.
type Message struct {
	// Offset is its place: those of one box grow, with gaps between them.
	Offset uint64
	// Prev is the offset of the message before it in its box, 0 if none was
	// known to be. Who has seen everything up to Prev misses nothing before
	// this one.
	Prev uint64
	// Binary tells what kind of WebSocket message it is.
	Binary bool
	// Stored is when.
	Stored time.Time
	// Expires is when nobody wants it any more; zero if never.
	Expires time.Time
	Payload []byte

	sum int64 // bytes of payload in its box since ever, this one included
}

// linkHeader has what JetStream does not: "t PREV SUM EXPIRES", where t is b for
// binary messages and EXPIRES is in milliseconds since 1970, 0 for never.
const linkHeader = "Fanfare"

func (m *Message) link() string {
	b := make([]byte, 0, 64)
	if b = append(b, "t "...); m.Binary {
		b[0] = 'b'
	}
	var expires int64
	if !m.Expires.IsZero() {
		expires = m.Expires.UnixMilli()
	}
	b = append(strconv.AppendUint(b, m.Prev, 10), ' ')
	b = append(strconv.AppendInt(b, m.sum, 10), ' ')
	return string(strconv.AppendInt(b, expires, 10))
}

// parse reads the answer to a direct get.
func (m *Message) parse(in *nats.Msg) error {
	link, seq := in.Header.Get(linkHeader), in.Header.Get("Nats-Sequence")
	f := strings.Split(link, " ")
	if len(f) != 4 {
		return fmt.Errorf("%w: message %s has no %s header", ErrDamaged, seq, linkHeader)
	}
	var errs [4]error
	var expires int64
	m.Offset, errs[0] = strconv.ParseUint(seq, 10, 64)
	m.Binary = f[0] == "b"
	m.Prev, errs[1] = strconv.ParseUint(f[1], 10, 64)
	m.sum, errs[2] = strconv.ParseInt(f[2], 10, 64)
	expires, errs[3] = strconv.ParseInt(f[3], 10, 64)
	if err := errors.Join(errs[:]...); err != nil {
		return fmt.Errorf("%w: message %s: %w", ErrDamaged, seq, err)
	}
	if expires != 0 {
		m.Expires = time.UnixMilli(expires)
	}
	m.Stored, _ = time.Parse(time.RFC3339Nano, in.Header.Get("Nats-Time-Stamp"))
	m.Payload = in.Data
	return nil
}

// before is the sum of the message before it.
func (m *Message) before() int64 { return m.sum - int64(len(m.Payload)) }

// Expired tells whether nobody wants it any more.
func (m *Message) Expired(now time.Time) bool { return !m.Expires.IsZero() && !now.Before(m.Expires) }
