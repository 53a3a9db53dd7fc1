package handshake

import (
	"bytes"
	"encoding/base64"
	"net/http"
)

// Check checks a request against RFC 6455 section 4.2.1, item by item. The section wants
// "any violations of the ABNF grammar" rejected as well; that of Upgrade is in RFC 9110
// section 7.8, that of Connection in section 7.6.1.
func Check(r *Request) error {
	if !bytes.HasPrefix(r.Version, []byte("HTTP/1.")) || string(r.Version) == "HTTP/1.0" { // item 1: "or higher"
		return errOldHTTP
	}
	if string(r.Method) != http.MethodGet { // item 1
		return errMethod
	}
	if _, n := r.Field("Host"); n != 1 { // item 2
		return errHost
	}
	if !r.IsUpgrade() { // item 3
		return errNoUpgrade
	}
	for p := range r.List("Upgrade") {
		if !isUpgradeProtocol(p) {
			return errUpgrade
		}
	}
	if !r.HasToken("Connection", "Upgrade") { // item 4
		return errNoConnection
	}
	for option := range r.List("Connection") {
		if !isToken(option) {
			return errConnection
		}
	}
	if key, n := r.Field("Sec-WebSocket-Key"); n != 1 || !isKey(key) { // item 5; 11.3.1: "MUST NOT appear more than once"
		return errKey
	}
	// Item 6, section 4.4. The field of a request has one version, not a list: a client that
	// names two would not learn which of them is spoken.
	if v, n := r.Field("Sec-WebSocket-Version"); n != 1 || string(v) != "13" {
		return errWebSocketVersion
	}
	// A body would be read as frames, and what a proxy takes for a body can be made to
	// look like an answer.
	if HasBody(r) {
		return errBody
	}
	// Item 8. Section 4.3 wants at least one member. A field without any offers nothing, as no
	// field does, and some clients send it for an empty list; gorilla, coder and gobwas accept
	// it, too.
	for p := range r.List("Sec-WebSocket-Protocol") {
		if !isToken(p) {
			return errProtocols
		}
	}
	return nil
}

var (
	errOldHTTP      = Reject(http.StatusHTTPVersionNotSupported, "a WebSocket handshake needs HTTP/1.1; a proxy may have lowered the version (nginx: proxy_http_version 1.1)")
	errMethod       = &Rejection{Status: http.StatusMethodNotAllowed, Text: "a WebSocket handshake is a GET", Header: http.Header{"Allow": {"GET"}}}
	errHost         = Reject(http.StatusBadRequest, "want exactly one Host field, with the name of a host")
	errNoUpgrade    = &Rejection{Status: http.StatusUpgradeRequired, Text: "want Upgrade: websocket", Header: http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}}}
	errUpgrade      = Reject(http.StatusBadRequest, "malformed Upgrade")
	errNoConnection = Reject(http.StatusBadRequest, "want Connection: Upgrade; a proxy may have removed it")
	errConnection   = Reject(http.StatusBadRequest, "malformed Connection")
	errKey          = Reject(http.StatusBadRequest, "want one Sec-WebSocket-Key, base64 of 16 bytes")
	errBody         = Reject(http.StatusBadRequest, "a WebSocket handshake has no body")
	errProtocols    = Reject(http.StatusBadRequest, "malformed Sec-WebSocket-Protocol")

	errWebSocketVersion = &Rejection{Status: http.StatusUpgradeRequired, Text: "want Sec-WebSocket-Version: 13", Header: http.Header{
		"Sec-Websocket-Version": {"13"}, "Upgrade": {"websocket"}, "Connection": {"Upgrade"}}}
)

// CheckHost checks the grammar of the host that the client wants to reach, RFC 9112
// section 3.2; HTTP/1.0 has none. It is apart from Check because middleware may set another one.
func CheckHost(r *Request) error {
	if !IsHost(r.Authority()) && (len(r.Authority()) > 0 || string(r.Version) != "HTTP/1.0") {
		return errHost
	}
	return nil
}

// isKey reports whether a Sec-WebSocket-Key decodes to 16 bytes. Bits after the last one
// are ignored, as ws, gorilla and coder do: the example of RFC 6455 section 4.1 item 7,
// AQIDBAUGBwgJCgsMDQ4PEC==, has some.
func isKey(key []byte) bool {
	var nonce [18]byte
	if len(key) != 24 || bytes.ContainsAny(key, "\r\n") { // base64 ignores these
		return false
	}
	n, err := base64.StdEncoding.Decode(nonce[:], key)
	return err == nil && n == 16
}

// ChooseProtocol returns the first sub-protocol that the client offers and the server
// speaks: the list is in the client's order of preference, RFC 6455 section 4.1 item 10.
// It returns "" if there is none.
func ChooseProtocol(r *Request, spoken []string) string {
	for offer := range r.List("Sec-WebSocket-Protocol") {
		for _, p := range spoken {
			if p == string(offer) {
				return p
			}
		}
	}
	return ""
}
