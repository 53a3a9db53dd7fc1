package server

import (
	"bytes"
	"fmt"
	"net/url"
	"strings"
)

// originAllowed decides whether a page may connect, RFC 6455 section 10.2: a
// browser names the page's origin, and any page of any site can make it
// connect here with the user's cookies. Allowed are pages of the host that the
// request was sent to, and those that the operator named. What is no browser
// sends no Origin and could send any.
//
// The scheme is not compared for the same host: behind a proxy that ends TLS the
// server does not know its own.
func originAllowed(origin, host []byte, allowed []string) bool {
	for _, pattern := range allowed {
		if matchOrigin(pattern, origin) {
			return true
		}
	}
	scheme, rest, ok := bytes.Cut(origin, []byte("://"))
	if !ok {
		return false // "null" among others
	}
	var port []byte // that may be left out
	switch {
	case equalFold(scheme, "http"):
		port = []byte(":80")
	case equalFold(scheme, "https"):
		port = []byte(":443")
	default:
		return false // file:, extensions of browsers: they have no host to compare
	}
	return equalFold(bytes.TrimSuffix(rest, port), string(bytes.TrimSuffix(host, port)))
}

func matchOrigin(pattern string, origin []byte) bool {
	if pattern == "*" || equalFold(origin, pattern) {
		return true
	}
	before, after, ok := strings.Cut(pattern, "*")
	if !ok || len(origin) <= len(before)+len(after) {
		return false
	}
	end := len(origin) - len(after)
	if !equalFold(origin[:len(before)], before) || !equalFold(origin[end:], after) {
		return false
	}
	for _, c := range origin[len(before):end] {
		// Labels of a host name; nothing else may stand for them.
		if l := lower(c); !('a' <= l && l <= 'z' || isDigit(c) || c == '-' || c == '.' || c == '_') {
			return false
		}
	}
	return true
}

// checkOriginPattern accepts "*", "scheme://host[:port]" and "scheme://*.host".
func checkOriginPattern(p string) error {
	if p == "*" {
		return nil
	}
	u, err := url.Parse(strings.Replace(p, "://*.", "://", 1))
	if err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.User != nil || strings.Contains(u.Host, "*") {
		return fmt.Errorf("allowed origin %q: want scheme://host[:port], scheme://*.host or *", p)
	}
	return nil
}
