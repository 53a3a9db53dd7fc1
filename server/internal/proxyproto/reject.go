package proxyproto

import (
	"errors"
	"net/http"

	"fanfare/server/internal/handshake"
)

// Reject returns the answer to a connection of a proxy whose header Parse rejects. setting is
// where the operator names the proxies.
func Reject(err error, setting string) *handshake.Rejection {
	if errors.Is(err, ErrNone) {
		return &handshake.Rejection{
			Status: http.StatusBadRequest,
			Text:   "a connection from this address begins with a PROXY protocol header: have the proxy send it, or take its address out of " + setting,
			Reason: "PROXY protocol header missing",
		}
	}
	return &handshake.Rejection{Status: http.StatusBadRequest, Text: err.Error(), Reason: "PROXY protocol header malformed"}
}

// RejectUnknown returns the answer to a header from an address that is not a proxy: believing
// it would let any client choose its address.
func RejectUnknown(setting string) *handshake.Rejection {
	return &handshake.Rejection{
		Status: http.StatusBadRequest,
		Text:   "a PROXY protocol header came from an address that is not in " + setting,
		Reason: "PROXY protocol header from an unknown proxy",
	}
}

// Take is Parse for a header that comes in pieces: held is what has arrived before b. While the
// header is incomplete rest is nil, and kept is held in the next call. Otherwise rest are the
// bytes of b that follow the header.
func Take(held, b []byte) (h Header, kept, rest []byte, err error) {
	all := b
	if len(held) > 0 {
		all = append(held, b...)
	}
	h, n, err := Parse(all)
	switch {
	case err != nil:
		return h, nil, nil, err
	case n == 0:
		return h, append([]byte(nil), all...), nil, nil
	}
	return h, nil, b[len(b)-(len(all)-n):], nil
}
