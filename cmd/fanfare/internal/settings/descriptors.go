package settings

import (
	"fanfare/server/acme"
	"fanfare/server/keep"
	"fanfare/server/pusher"
)

// perCall is the number of sockets of a connection to a backend: while it is being opened, to a
// host with addresses of IPv4 and IPv6, there are two (RFC 8305).
const perCall = 2

// descriptors returns how many descriptors the program needs for what package server does not
// know: connections to backends, and those of the authority that issues certificates. apps and
// certificates are nil if there are none.
func (cmd *Serve) descriptors(apps *pusher.Config, certificates *acme.Config) int {
	calls := len(cmd.Webhook) + len(cmd.JWKS)
	if cmd.Auth == "hook" {
		calls += cmd.ConnectHookConcurrency
	}
	if cmd.MessageHook != "" {
		calls += cmd.MessageConcurrency
	}
	if apps != nil {
		for i := range apps.Apps {
			calls += len(apps.Apps[i].Webhooks)
		}
	}
	n := perCall * calls
	if cmd.Keep {
		n += keep.Descriptors
	}
	if certificates != nil && certificates.HTTP != "" {
		n += acme.MaxHTTPConnections
	}
	return n
}
