package server

import (
	"fmt"
	"net/http"

	"fanfare/server/internal/limit"
)

// ServeHTTP makes a Mount an http.Handler. Endpoint.Identifier tells whose session it is.
func (m *Mount) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.upgrade(w, r, nil)
}

// Upgrade is ServeHTTP for a program that has looked at the request itself: id tells
// whose session it is, and Endpoint.Identifier is not called. A session without a User is
// accepted, and reached by no push. The client has its answer in any case. An error is a
// *Rejection; for one of status 500 the cause, which errors.Is finds, has been logged.
func (m *Mount) Upgrade(w http.ResponseWriter, r *http.Request, id Identity) error {
	return m.upgrade(w, r, &id)
}

func (m *Mount) upgrade(w http.ResponseWriter, r *http.Request, preset *Identity) error {
	h := shakens.Get().(*shaken)
	defer h.free()
	h.req.fromHTTP(r)
	a, err := m.begin(r.Context(), h, preset)
	if err != nil {
		serveRejection(w, err.(*Rejection))
		return err
	}
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		rejection := m.ep.srv.rejection(fmt.Errorf("server: cannot take the connection out of a %T: %w", w, err))
		serveRejection(w, rejection)
		return rejection
	}
	ahead, _ := rw.Reader.Peek(rw.Reader.Buffered())
	return a.Adopt(nc, ahead)
}

// serveRejection answers a request of net/http.
func serveRejection(w http.ResponseWriter, r *Rejection) {
	for name, values := range r.Header {
		for _, v := range values {
			w.Header().Add(name, v)
		}
	}
	http.Error(w, r.Text, r.Status)
}

// fromHTTP makes r a request of net/http. The fields are not checked again: net/http has
// checked those of the wire, and none of them is sent on.
func (r *Request) fromHTTP(in *http.Request) {
	h := &r.head
	h.Method, h.Version = []byte(in.Method), []byte(in.Proto)
	h.Path, h.Query = []byte(in.URL.EscapedPath()), []byte(in.URL.RawQuery)
	r.peer = limit.ParseAddrPort(in.RemoteAddr)
	r.tls, r.hosted = in.TLS, in
	if in.Host != "" { // net/http has moved it there, and lets an empty field pass
		h.Add("Host", in.Host)
	}
	for name, values := range in.Header {
		for _, v := range values {
			if name != "Host" {
				h.Add(name, v)
			}
		}
	}
	for _, v := range in.TransferEncoding { // likewise
		h.Add("Transfer-Encoding", v)
	}
}
