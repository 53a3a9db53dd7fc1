package frame

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// ParseClose splits the payload of a close frame into its status code and reason (RFC 6455, 5.5.1). The
// code of an empty payload is StatusNoStatusRcvd (7.1.5). The error is a *CloseError.
func ParseClose(payload []byte) (code StatusCode, reason string, err error) {
	if f := checkClose(payload); f != nil {
		return 0, "", f
	}
	if len(payload) == 0 {
		return StatusNoStatusRcvd, "", nil
	}
	return StatusCode(binary.BigEndian.Uint16(payload)), string(payload[2:]), nil
}

func checkClose(payload []byte) *CloseError {
	switch {
	case len(payload) == 0:
		return nil
	case len(payload) == 1: // 5.5.1: the body's first two bytes MUST be a status code
		return faultCloseLen
	case !CloseCodeAllowed(StatusCode(binary.BigEndian.Uint16(payload))):
		return faultCloseCode
	case !utf8.Valid(payload[2:]): // 5.5.1 and 8.1
		return faultCloseReason
	}
	return nil
}

// MaxReason is the room for a reason in a close frame, after the status code.
const MaxReason = ws.MaxControlFramePayloadSize - 2

// AppendClose appends a server's close frame. A reason longer than 123 bytes is cut at the end of a rune,
// and invalid UTF-8 in it is replaced. If code must not be sent, like 0 or StatusNoStatusRcvd, the payload
// is empty.
func AppendClose(dst []byte, code StatusCode, reason string) []byte {
	const b0 = bitFIN | byte(ws.OpClose)
	if !CloseCodeAllowed(code) {
		return appendHeader(dst, b0, 0)
	}
	reason = strings.ToValidUTF8(reason, string(utf8.RuneError))
	if len(reason) > MaxReason {
		n := MaxReason
		for !utf8.RuneStart(reason[n]) {
			n--
		}
		reason = reason[:n]
	}
	dst = appendHeader(dst, b0, 2+len(reason))
	dst = binary.BigEndian.AppendUint16(dst, uint16(code))
	return append(dst, reason...)
}
