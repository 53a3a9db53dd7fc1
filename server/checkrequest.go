package server

import (
	"errors"
	"net/http"
)

// checkHeader marks a plain GET request at an endpoint as a question: the answer is what
// a WebSocket handshake with the same query and header would get. Browsers do not tell
// pages why a handshake was rejected, and curl has to be talked into one.
const checkHeader = "Fanfare-Check"

// answerCheck answers such a request. It counts as a handshake against the rates, so that
// it gives nobody more attempts at guessing a token. A page of another site cannot send
// it: the header makes browsers ask first, with OPTIONS.
func (ep *endpoint) answerCheck(w http.ResponseWriter, r *http.Request) {
	h := shakens.Get().(*shaken)
	defer h.free()
	h.req.fromHTTP(r)
	for _, f := range [][2]string{
		{"Upgrade", "websocket"}, {"Connection", "Upgrade"},
		{"Sec-WebSocket-Version", "13"}, {"Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="},
	} {
		if r.Header.Get(f[0]) == "" || f[0] == "Connection" {
			h.req.head.Add(f[0], f[1])
		}
	}
	_, err := ep.arrive(r.Context(), h, nil)
	var rejection *Rejection
	switch {
	case err == nil:
		plainText(w, http.StatusOK, "the handshake would be accepted")
	case errors.As(err, &rejection):
		for name, values := range rejection.Header {
			w.Header()[name] = values
		}
		plainText(w, rejection.Status, rejection.Text)
	default:
		ep.srv.log.Error("handshake check failed", "err", err)
		plainText(w, errInternal.Status, errInternal.Text)
	}
}
