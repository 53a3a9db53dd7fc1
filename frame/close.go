package frame

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// CloseCodeAllowed reports whether code may stand in a close frame (RFC 6455,
// 7.4): a code that IANA has registered for use on the wire, or one of the
// ranges for libraries (3000 to 3999) and applications (4000 to 4999). 1004 has
// no meaning, 1005, 1006 and 1015 must never be sent, and 1016 to 2999 are for
// protocols to come.
func CloseCodeAllowed(code ws.StatusCode) bool {
	switch {
	case code >= 3000:
		return code <= 4999
	case code >= 1007:
		// 1012 to 1014 (service restart, try again later, bad gateway) are
		// registered since the RFC.
		return code <= 1014
	default:
		return code >= 1000 && code <= 1003
	}
}

// ParseClose takes the payload of a close frame apart (RFC 6455, 5.5.1). The
// code of an empty one is 1005 (7.1.5). The error is a *CloseError.
func ParseClose(payload []byte) (code ws.StatusCode, reason string, err error) {
	if f := checkClose(payload); f != nil {
		return 0, "", f.fault
	}
	if len(payload) == 0 {
		return ws.StatusNoStatusRcvd, "", nil
	}
	return ws.StatusCode(binary.BigEndian.Uint16(payload)), string(payload[2:]), nil
}

func checkClose(payload []byte) *state {
	switch {
	case len(payload) == 0:
		return nil
	case len(payload) == 1: // 5.5.1: the body's first two bytes MUST be a status code
		return faultCloseLen
	case !CloseCodeAllowed(ws.StatusCode(binary.BigEndian.Uint16(payload))):
		return faultCloseCode
	case !utf8.Valid(payload[2:]): // 5.5.1 and 8.1
		return faultCloseReason
	}
	return nil
}

// maxReason is what a close frame has room for behind the status code.
const maxReason = ws.MaxControlFramePayloadSize - 2

// AppendClose appends a server's close frame. A reason longer than 123 bytes is
// cut before a rune that does not fit, and what is no UTF-8 in it is replaced.
// With a code that may not stand in a frame, such as 0 or 1005, the payload is
// empty.
func AppendClose(dst []byte, code ws.StatusCode, reason string) []byte {
	const b0 = bitFIN | byte(ws.OpClose)
	if !CloseCodeAllowed(code) {
		return appendHeader(dst, b0, 0)
	}
	reason = strings.ToValidUTF8(reason, string(utf8.RuneError))
	if len(reason) > maxReason {
		n := maxReason
		for !utf8.RuneStart(reason[n]) {
			n--
		}
		reason = reason[:n]
	}
	dst = appendHeader(dst, b0, 2+len(reason))
	dst = binary.BigEndian.AppendUint16(dst, uint16(code))
	return append(dst, reason...)
}
