package server

import (
	"fmt"
	"net/url"
	"strings"
)

// originAllowed decides whether a page may connect, RFC 6455 section 10.2: a
// browser names the page's origin, and any page of any site can make it
// connect here with the user's cookies. Allowed are pages of the host that the
// request was sent to, and those that the operator named. What is no browser
// sends no Origin and could send any.
func originAllowed(origin, host string, allowed []string) bool {
	for _, pattern := range allowed {
		if matchOrigin(pattern, origin) {
			return true
		}
	}
	scheme, rest, ok := strings.Cut(origin, "://")
	if !ok {
		return false // "null" among others
	}
	port := map[string]string{"http": ":80", "https": ":443"}[strings.ToLower(scheme)]
	return strings.EqualFold(strings.TrimSuffix(rest, port), strings.TrimSuffix(host, port))
}

func matchOrigin(pattern, origin string) bool {
	if pattern == "*" || strings.EqualFold(pattern, origin) {
		return true
	}
	before, after, ok := strings.Cut(pattern, "*")
	if !ok || len(origin) <= len(before)+len(after) {
		return false
	}
	middle := origin[len(before) : len(origin)-len(after)]
	return strings.EqualFold(origin[:len(before)], before) &&
		strings.EqualFold(origin[len(origin)-len(after):], after) &&
		!strings.ContainsAny(middle, "/:@")
}

// checkOriginPattern accepts "*", "scheme://host[:port]" and "scheme://*.host".
func checkOriginPattern(p string) error {
	if p == "*" {
		return nil
	}
	u, err := url.Parse(strings.Replace(p, "://*.", "://", 1))
	if err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || strings.Contains(u.Host, "*") {
		return fmt.Errorf("allowed origin %q: want scheme://host[:port], scheme://*.host or *", p)
	}
	return nil
}
