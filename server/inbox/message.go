package inbox

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"fanfare/server/store"
)

// message is a stored message with the sum that its link carries.
type message struct {
	store.Message
	sum int64 // bytes of payload ever appended to the box, up to this message
}

// linkHeader has what JetStream does not know: "t PREV SUM EXPIRES", where t is b
// for binary messages and EXPIRES is in milliseconds since 1970, 0 for never.
const linkHeader = "Fanfare"

func (m *message) link() string {
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
func (m *message) parse(in *nats.Msg) error {
	link, seq := in.Header.Get(linkHeader), in.Header.Get("Nats-Sequence")
	f := strings.Split(link, " ")
	if len(f) != 4 {
		return fmt.Errorf("%w: message %s has no %s header", store.ErrDamaged, seq, linkHeader)
	}
	var errs [4]error
	var expires int64
	m.Offset, errs[0] = strconv.ParseUint(seq, 10, 64)
	m.Binary = f[0] == "b"
	m.Prev, errs[1] = strconv.ParseUint(f[1], 10, 64)
	m.sum, errs[2] = strconv.ParseInt(f[2], 10, 64)
	expires, errs[3] = strconv.ParseInt(f[3], 10, 64)
	if err := errors.Join(errs[:]...); err != nil {
		return fmt.Errorf("%w: message %s: %w", store.ErrDamaged, seq, err)
	}
	if m.Prev >= m.Offset { // of a stream that had the name before
		m.Prev = m.Offset - 1
	}
	if expires != 0 {
		m.Expires = time.UnixMilli(expires)
	}
	m.Stored, _ = time.Parse(time.RFC3339Nano, in.Header.Get("Nats-Time-Stamp"))
	m.Payload = in.Data
	return nil
}

// sumBefore returns the sum of the preceding message.
func (m *message) sumBefore() int64 { return m.sum - int64(len(m.Payload)) }
