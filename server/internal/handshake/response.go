package handshake

import "fanfare/frame"

// AppendResponse appends the answer that accepts r, RFC 6455 section 4.2.2 item 5. r must
// have passed Check. The answer leaves out an empty protocol or extension.
func AppendResponse(b []byte, r *Request, protocol, extension string) []byte {
	key, _ := r.Field("Sec-WebSocket-Key")
	b = append(b, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	b = append(frame.AppendAcceptKey(b, key), crlf...)
	if protocol != "" {
		b = append(append(append(b, "Sec-WebSocket-Protocol: "...), protocol...), crlf...)
	}
	if extension != "" {
		b = append(append(append(b, "Sec-WebSocket-Extensions: "...), extension...), crlf...)
	}
	return append(b, crlf...)
}
