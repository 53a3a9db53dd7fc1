package handshake

import (
	"net/http"
	"slices"
)

// StreamMethods are those that an endpoint of streams takes: HEAD asks what a GET would get,
// and POST acknowledges the positions that a GET would resume from.
const StreamMethods = "GET, HEAD, POST, OPTIONS"

// CrossOrigin returns the fields with which a browser lets a page of another origin read the
// response: pages of the origins that may connect, see Check. A page may send cookies unless
// the origin is allowed by "*" alone.
func (o Origins) CrossOrigin(r *Request, name func(field string) string, hosts ...[]byte) http.Header {
	h := http.Header{"Vary": {"Origin"}}
	origin, n := r.Field("Origin")
	if n != 1 {
		return h
	}
	named := slices.DeleteFunc(slices.Clone(o), func(p string) bool { return p == "*" })
	switch {
	case named.Check(r, name, hosts...) == nil:
		h.Set("Access-Control-Allow-Origin", string(origin))
		h.Set("Access-Control-Allow-Credentials", "true")
	case len(named) < len(o):
		h.Set("Access-Control-Allow-Origin", "*")
	default:
		return h
	}
	h.Set("Access-Control-Expose-Headers", "Retry-After")
	return h
}

// Preflight sets the fields that let pages send what a stream needs: Authorization for fetch,
// and the position of an earlier stream. Fetch standard, section 3.3.
func Preflight(h http.Header) {
	h.Set("Allow", StreamMethods)
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST")
	h.Set("Access-Control-Allow-Headers", "Authorization, Cache-Control, Last-Event-ID")
	h.Set("Access-Control-Max-Age", "600")
}
