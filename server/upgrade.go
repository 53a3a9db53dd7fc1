package server

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"

	"github.com/gobwas/ws"
)

// checkUpgrade is RFC 6455 section 4.2.1, item by item. It wants "any violations of the
// ABNF grammar" refused as well, those of RFC 9110 included: 7.8 for Upgrade, 7.6.1 for
// Connection.
func checkUpgrade(r *Request) error {
	if !bytes.HasPrefix(r.version, []byte("HTTP/1.")) || string(r.version) == "HTTP/1.0" { // item 1: "or higher"
		return Refuse(505, "a WebSocket handshake needs HTTP/1.1")
	}
	if string(r.method) != "GET" { // item 1
		return &Refusal{Status: 405, Text: "a WebSocket handshake is a GET", header: "Allow: GET\r\n"}
	}
	if _, n := r.field("Host"); n != 1 { // item 2
		return Refuse(400, "want exactly one Host field")
	}
	if !r.hasToken("Upgrade", "websocket") { // item 3
		return &Refusal{Status: 426, Text: "want Upgrade: websocket", header: "Upgrade: websocket\r\nConnection: Upgrade\r\n"}
	}
	for p := range r.list("Upgrade") {
		if !isProtocol(p) {
			return Refuse(400, "malformed Upgrade")
		}
	}
	if !r.hasToken("Connection", "Upgrade") { // item 4
		return Refuse(400, "want Connection: Upgrade")
	}
	for option := range r.list("Connection") {
		if !isTokenBytes(option) {
			return Refuse(400, "malformed Connection")
		}
	}
	key, n := r.field("Sec-WebSocket-Key") // item 5
	var nonce [18]byte
	if size, err := base64.StdEncoding.Strict().Decode(nonce[:], key[:min(len(key), 24)]); n != 1 || len(key) != 24 || err != nil || size != 16 {
		return Refuse(400, "want one Sec-WebSocket-Key, base64 of 16 bytes")
	}
	if v, n := r.field("Sec-WebSocket-Version"); n != 1 || string(v) != "13" { // item 6, section 4.4
		return &Refusal{Status: 426, Text: "want Sec-WebSocket-Version: 13", header: "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"}
	}
	// A body would be taken for frames, and what a proxy believes to be one can
	// be made to look like an answer.
	length, lengths := r.field("Content-Length")
	_, codings := r.field("Transfer-Encoding")
	if lengths > 1 || lengths == 1 && string(length) != "0" || codings > 0 {
		return Refuse(400, "a WebSocket handshake has no body")
	}
	_, lists := r.field("Sec-WebSocket-Protocol") // item 8; section 4.3: 1#token
	offers := 0
	for p := range r.list("Sec-WebSocket-Protocol") {
		if offers++; !isTokenBytes(p) {
			return errProtocols
		}
	}
	if lists > 0 && offers == 0 {
		return errProtocols
	}
	return nil
}

var errProtocols = Refuse(400, "malformed Sec-WebSocket-Protocol")

// chooseDialect takes the dialect of the first sub-protocol that the client offers and
// the endpoint has: the list is in the client's order of preference, RFC 6455 section
// 4.1 item 10. Without a match it is the dialect that has no sub-protocol.
func (ep *endpoint) chooseDialect(r *Request) (index int, err error) {
	for offer := range r.list("Sec-WebSocket-Protocol") {
		for i, d := range ep.Dialects {
			if p := d.Protocol(); p != "" && p == string(offer) {
				return i, nil
			}
		}
	}
	for i, d := range ep.Dialects {
		if d.Protocol() == "" {
			return i, nil
		}
	}
	return 0, Refuse(400, "this endpoint needs a sub-protocol that the client does not offer")
}

// upgrade lets ws.Upgrader answer, over memory. gobwas refuses forms that are
// legal (a Connection field that is repeated, an Upgrade field that is a list) and
// accepts some that are not (a key that is no base64), so the request is checked
// before and given to it in canonical form.
type upgrade struct {
	in    []byte
	read  int
	out   []byte
	extra []byte // further lines of the answer
}

func (u *upgrade) reset() { u.in, u.out, u.extra, u.read = u.in[:0], u.out[:0], u.extra[:0], 0 }

func (u *upgrade) answer(r *Request, protocol, extension string) ([]byte, error) {
	u.reset()
	key, _ := r.field("Sec-WebSocket-Key")
	u.in = append(u.in, "GET / HTTP/1.1\r\nHost: \r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "...)
	u.in = append(append(u.in, key...), headEnd...)
	if protocol != "" {
		u.extra = append(append(append(u.extra, "Sec-WebSocket-Protocol: "...), protocol...), crlf...)
	}
	if extension != "" {
		u.extra = append(append(append(u.extra, "Sec-WebSocket-Extensions: "...), extension...), crlf...)
	}
	if _, err := (ws.Upgrader{Header: u, ReadBufferSize: 512, WriteBufferSize: 512}).Upgrade(u); err != nil {
		return nil, fmt.Errorf("BUG: the request was checked, and gobwas refuses it: %w", err)
	}
	return u.out, nil
}

// Read and Write are the connection that Upgrader sees.
func (u *upgrade) Read(p []byte) (int, error) {
	if u.read == len(u.in) {
		return 0, io.EOF
	}
	n := copy(p, u.in[u.read:])
	u.read += n
	return n, nil
}

func (u *upgrade) Write(p []byte) (int, error) {
	u.out = append(u.out, p...)
	return len(p), nil
}

// WriteTo writes further header fields of the answer.
func (u *upgrade) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(u.extra)
	return int64(n), err
}
