package natsconn

import (
	"errors"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"fanfare/server/internal/field"
)

// schemes that NATS's client speaks. It takes any other scheme for nats.
var schemes = []string{"nats", "tls", "ws", "wss"}

// parseURLs returns the servers of a list. Errors contain no secrets: those of
// package url quote the part that they reject, which may be of a password.
func parseURLs(list string) ([]*url.URL, error) {
	if strings.TrimSpace(list) == "" {
		return nil, field.Errorf("URL", "is empty: want one such as nats://host:4222")
	}
	var urls []*url.URL
	var errs []error
	for i, s := range strings.Split(list, ",") {
		u, problem := parseURL(s)
		if i > 0 && splitsPassword(s) {
			problem = "follows a comma without a scheme: write nats:// before it, or %2C for a comma in a password"
		}
		if problem != "" {
			errs = append(errs, field.Errorf("URL", "%q %s", redactOne(s), problem))
			continue
		}
		urls = append(urls, u)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	for _, u := range urls[1:] {
		if isWebSocket(u) != isWebSocket(urls[0]) {
			return nil, field.Errorf("URL", "mixes the schemes %s and %s: want ws and wss only, or neither", urls[0].Scheme, u.Scheme)
		}
	}
	return urls, nil
}

func isWebSocket(u *url.URL) bool { return u.Scheme == "ws" || u.Scheme == "wss" }

// parseURL returns one server, or what is wrong with it.
func parseURL(s string) (u *url.URL, problem string) {
	s = strings.TrimSpace(s)
	if s == "" {
		return nil, "is empty: is there a comma too many?"
	}
	if !strings.Contains(s, "://") {
		s = "nats://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, "is malformed: want nats://host:4222, or nats://user:password@host:4222 with special characters of the password percent-encoded"
	}
	port, portErr := strconv.ParseUint(u.Port(), 10, 16)
	switch {
	case !slices.Contains(schemes, u.Scheme):
		return nil, "has an unknown scheme: want one of " + strings.Join(schemes, ", ") + ", as in nats://host:4222"
	case u.Hostname() == "":
		return nil, "has no host: want one as in nats://host:4222"
	case u.Port() != "" && (portErr != nil || port == 0):
		return nil, "has an invalid port: want 1 to 65535"
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return nil, "has more than a host and port: want nats://host:4222, with special characters of a password percent-encoded"
	}
	u.Path = ""
	return u, ""
}

// splitsPassword reports whether an element that follows a comma may be the rest
// of a URL whose password contains that comma.
func splitsPassword(s string) bool {
	return strings.Contains(s, "@") && !strings.Contains(s, "://")
}

// Redact returns a URL list without secrets, for logs and errors.
func Redact(list string) string {
	all := strings.Split(list, ",")
	for i, s := range all {
		all[i] = redactOne(s)
		if i > 0 && splitsPassword(s) {
			for j := range all[:i] {
				all[j] = hidden
			}
		}
	}
	return strings.Join(all, ",")
}

const hidden = "xxxxx"

// redactOne keeps of a URL what is known not to be a secret: scheme, user name and
// host. It trusts nothing that it does not understand.
func redactOne(s string) string {
	s = strings.TrimSpace(s)
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		scheme, rest = "", s
	} else if isName(scheme) {
		scheme += "://"
	} else {
		scheme = hidden + "://"
	}
	host := rest
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		host = rest[at+1:]
		user, _, hasPassword := strings.Cut(rest[:at], ":")
		if hasPassword && isName(user) {
			scheme += user + ":" + hidden + "@"
		} else {
			scheme += hidden + "@" // a token, or not known to be a user name
		}
	}
	if nothing := ok && rest == ""; !nothing && !isHost(strings.TrimSuffix(host, "/")) {
		host = hidden
	}
	return scheme + host
}

func isName(s string) bool {
	return s != "" && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789+-._") == ""
}

// isHost reports whether s is a host name or address, perhaps with a port, and so
// neither the start of a password nor its end.
func isHost(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = strings.Trim(s, "[]"), ""
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return (port == "" || err == nil) && (isName(host) || net.ParseIP(host) != nil)
}
