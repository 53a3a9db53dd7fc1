package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/netip"
	"strings"

	"github.com/valyala/fasthttp"

	"fanfare/server/api/internal/problem"
)

// keyDigest is the digest of an API key. Digests have one length, so that comparing them
// in constant time hides the length of the key as well.
type keyDigest [sha256.Size]byte

func digestKeys(keys []string) *[]keyDigest {
	var digests []keyDigest
	for _, k := range keys {
		digests = append(digests, sha256.Sum256([]byte(k)))
	}
	return &digests
}

// authorize decides whether a request may be served. If the API has keys, the request must
// present one. If not, only this machine reaches the API (Config.validate), but a browser on
// this machine would send it the requests of any web page: authorize rejects those.
func (a *API) authorize(h *fasthttp.RequestHeader) *problem.Problem {
	if len(*a.keys.Load()) == 0 {
		if len(h.Peek("Authorization")) > 0 && !a.unchecked.Swap(true) {
			a.cfg.Logger.Warn("API key not checked: the API has no keys, and serves every caller", "address", a.cfg.Listen)
		}
		if strings.HasPrefix(a.cfg.Listen, "unix:") {
			return nil // browsers do not connect to it
		}
		return local(h)
	}
	fields := h.PeekAll("Authorization")
	if len(fields) > 1 { // RFC 9110, 5.3: the field is not a list
		return problem.Errorf(400, "bad_header", "the request has %d Authorization fields: send one", len(fields))
	}
	if len(fields) == 1 && a.knows(bearer(fields[0])) {
		return nil
	}
	return problem.Errorf(401, "unauthorized", "want Authorization: Bearer KEY with one of the API keys of the server")
}

// authorizeConn calls authorize for a request that is about to be served. A connection with an
// authorized request keeps its place; after a rejection the connection is closed.
func (a *API) authorizeConn(ctx *fasthttp.RequestCtx) *problem.Problem {
	if p := a.authorize(&ctx.Request.Header); p != nil {
		ctx.SetConnectionClose()
		return p
	}
	if c := connOf(ctx); c != nil && !c.known {
		c.known = true
		a.conns.Authorize(c)
	}
	return nil
}

// dropBody removes the body of a request that will not be authorized. Otherwise fasthttp
// asks for it, if the client sent Expect: 100-continue, and waits for its first byte before
// it calls the handler. The connection is closed after the answer, because bytes of the body
// may still arrive.
func (a *API) dropBody(h *fasthttp.RequestHeader) (_ fasthttp.RequestConfig) {
	expects := len(h.Peek("Expect")) > 0
	if n := h.ContentLength(); (n > 0 || n == chunked || expects) && a.authorize(h) != nil {
		h.SetContentLength(0)
		h.Del("Expect")
		h.SetConnectionClose()
	}
	return
}

const chunked = -1 // what fasthttp calls the length of such a body

// knows reports whether key is one of the keys. It compares key with all of them, so that the
// time it takes does not reveal which one is similar.
func (a *API) knows(key []byte) bool {
	digest := sha256.Sum256(key)
	found := 0
	for _, known := range *a.keys.Load() {
		found |= subtle.ConstantTimeCompare(digest[:], known[:])
	}
	return found == 1 && len(key) > 0
}

// Authorizes reports whether key is one of the keys of the API. It is for other
// interfaces of the program that the operator protects with the same keys.
func (a *API) Authorizes(key string) bool { return a.knows([]byte(key)) }

// bearer returns the credentials of an Authorization field of that scheme, RFC 6750
// section 2.1, and nil of any other.
func bearer(field []byte) []byte {
	const scheme = "bearer "
	if len(field) < len(scheme) || !strings.EqualFold(string(field[:len(scheme)]), scheme) {
		return nil
	}
	return []byte(strings.TrimSpace(string(field[len(scheme):])))
}

// local rejects requests of web pages. They have an Origin field or, if the page is of
// another site, a Sec-Fetch-Site field. The Host field gives away a page whose name was made
// to resolve to this machine (DNS rebinding).
func local(h *fasthttp.RequestHeader) *problem.Problem {
	const how = "; with an API key it would be served"
	if len(h.Peek("Origin")) > 0 {
		return problem.Errorf(403, "forbidden", "the request comes from a page in a browser (it has an Origin)"+how)
	}
	switch site := string(h.Peek("Sec-Fetch-Site")); site {
	case "", "none", "same-origin": // no browser, the address bar, a page of the API
	default:
		return problem.Errorf(403, "forbidden", "the request comes from a page of another site (Sec-Fetch-Site is %.20q)"+how, site)
	}
	if !localHost(string(h.Host())) {
		return problem.Errorf(403, "forbidden", "the Host field names another machine"+how)
	}
	return nil
}

// localHost reports whether a Host field is an IP address or localhost, which no name
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
