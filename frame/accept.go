package frame

import (
	"crypto/sha1"
	"encoding/base64"
)

// acceptGUID is appended to every key (RFC 6455, 1.3).
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// AppendAcceptKey appends the value of Sec-WebSocket-Accept that answers a Sec-WebSocket-Key (RFC 6455,
// 4.2.2, item 5.4): 28 bytes. key is the value of the header field without the white space around it. It
// is not checked; a valid one is 16 bytes in base64 (4.2.1, item 5).
func AppendAcceptKey(dst, key []byte) []byte {
	var buf [24 + len(acceptGUID)]byte
	sum := sha1.Sum(append(append(buf[:0], key...), acceptGUID...))
	return base64.StdEncoding.AppendEncode(dst, sum[:])
}
