package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/netip"
	"strings"

	"github.com/valyala/fasthttp"
)

// keyDigest stands for an API key. Digests have one length, so that comparing them
// in constant time hides the length of the key as well.
type keyDigest [sha256.Size]byte

func digestKeys(keys []string) (digests []keyDigest) {
	for _, k := range keys {
		digests = append(digests, sha256.Sum256([]byte(k)))
	}
	return digests
}

// admit decides whether a request may be served. With keys it must present one.
// Without, the API listens for this machine only (Config.validate), but a browser on
// this machine carries the requests of any page to it: those are turned away.
func (a *API) admit(h *fasthttp.RequestHeader) *problem {
	if len(a.keys) == 0 {
		if strings.HasPrefix(a.cfg.Listen, "unix:") {
			return nil // no page gets there
		}
		return local(h)
	}
	if a.knows(bearer(h.Peek("Authorization"))) {
		return nil
	}
	return problemf(401, "unauthorized", "want Authorization: Bearer KEY with one of the server's API keys")
}

// admitted is admit for a request that is about to be served. Who may not have what
// it asked for does not keep one of the places for connections either.
func (a *API) admitted(ctx *fasthttp.RequestCtx) *problem {
	p := a.admit(&ctx.Request.Header)
	if p != nil {
		ctx.SetConnectionClose()
	}
	return p
}

// dropBody takes the body off a request that will not be served. Else fasthttp asks
// for it, if the client sent Expect: 100-continue, and waits for its first byte before
// it calls the handler. What may come of it is read by nobody, so the connection ends
// behind the answer.
func (a *API) dropBody(h *fasthttp.RequestHeader) (_ fasthttp.RequestConfig) {
	expects := len(h.Peek("Expect")) > 0
	if n := h.ContentLength(); (n > 0 || n == chunked || expects) && a.admit(h) != nil {
		h.SetContentLength(0)
		h.Del("Expect")
		h.SetConnectionClose()
	}
	return
}

const chunked = -1 // what fasthttp calls the length of such a body

// knows compares with all keys, so that the time does not tell which one was like it.
func (a *API) knows(key []byte) bool {
	digest := sha256.Sum256(key)
	found := 0
	for i := range a.keys {
		found |= subtle.ConstantTimeCompare(digest[:], a.keys[i][:])
	}
	return found == 1 && len(key) > 0
}

// bearer returns the credentials of an Authorization field of that scheme, RFC 6750
// section 2.1, and nil of any other.
func bearer(field []byte) []byte {
	const scheme = "bearer "
	if len(field) < len(scheme) || !strings.EqualFold(string(field[:len(scheme)]), scheme) {
		return nil
	}
	return []byte(strings.TrimSpace(string(field[len(scheme):])))
}

// local refuses what a page in a browser sends: it says so in Origin, or, when a
// foreign name was made to resolve to this machine (DNS rebinding), in Host.
func local(h *fasthttp.RequestHeader) *problem {
	const how = "; with an API key it would be served"
	if len(h.Peek("Origin")) > 0 {
		return problemf(403, "forbidden", "this comes from a page in a browser"+how)
	}
	if !localHost(string(h.Host())) {
		return problemf(403, "forbidden", "the Host field names another machine"+how)
	}
	return nil
}

// localHost tells whether a Host field is a number or localhost, which nobody's name
// server can redirect.
func localHost(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.Trim(host, "[]")
	}
	if strings.EqualFold(name, "localhost") {
		return true
	}
	_, err = netip.ParseAddr(name)
	return err == nil
}
