package pusher

import "strings"

// Lengths of names, as at pusher.com.
const (
	maxChannel = 164
	maxEvent   = 200
	maxUserID  = 128
)

// The prefixes of names that begin no name of a client's channel.
const (
	serverToUser = "#server-to-user-" // messages for a signed-in user
	signedIn     = "#user-"           // the connections of a signed-in user
	watchers     = "#watch-"          // connections that watch a user
)

// validChannel reports whether clients may name a channel so.
func validChannel(name string) bool {
	if name == "" || len(name) > maxChannel {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte("_-=@,.;", c) < 0 {
			return false
		}
	}
	return true
}

// validUserID reports whether a user may be called so.
func validUserID(id string) bool {
	if id == "" || len(id) > maxUserID {
		return false
	}
	for i := range len(id) {
		if c := id[i]; c < ' ' || c >= 0x7f && c < 0xa0 {
			return false
		}
	}
	return true
}

func isPresence(channel string) bool  { return strings.HasPrefix(channel, "presence-") }
func isEncrypted(channel string) bool { return strings.HasPrefix(channel, "private-encrypted-") }
func isPrivate(channel string) bool   { return strings.HasPrefix(channel, "private-") }

// isSigned reports whether subscribers need a signature.
func isSigned(channel string) bool { return isPrivate(channel) || isPresence(channel) }

// isCache reports whether the channel keeps its last event.
func isCache(channel string) bool {
	for _, prefix := range []string{"private-encrypted-", "private-", "presence-"} {
		if rest, ok := strings.CutPrefix(channel, prefix); ok {
			return strings.HasPrefix(rest, "cache-")
		}
	}
	return strings.HasPrefix(channel, "cache-")
}

// isListed reports whether the HTTP API and webhooks speak of the channel.
func isListed(channel string) bool { return !strings.HasPrefix(channel, "#") }
