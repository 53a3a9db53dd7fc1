package settings

import (
	"errors"
	"slices"
	"strings"
)

// flagOf names the flag for each field that an error of a library may name, by package.
var flagOf = map[string]string{
	"server.Listen": "listen", "server.TLS": "tls-cert", "server.InsecureIdentity": "insecure-identity", "server.AllowOrigins": "allow-origin",
	"server.TrustedProxies": "trusted-proxy", "server.ProxyProtocol": "proxy-protocol", "server.Forwarded": "forwarded", "server.AllowQuery": "allow-query",
	"server.Workers": "workers", "server.QueueBytes": "queue-bytes", "server.MaxConnections": "max-connections",
	"server.ConnectionsPerIP": "connections-per-ip", "server.HandshakesPerIP": "handshakes-per-ip",
	"server.HandshakeRate": "handshake-rate", "server.SessionsPerUser": "sessions-per-user",
	"server.SessionsFull": "sessions-full", "server.TopicsPerSession": "topics-per-session",
	"server.PositionsPerUser": "positions-per-user", "server.PositionsPerIP": "positions-per-ip",
	"server.MaxPayload": "max-payload", "server.HandshakeTimeout": "handshake-timeout", "server.MaxHeader": "max-header",
	"server.PingInterval": "ping-interval", "server.PingTimeout": "ping-timeout", "server.CloseTimeout": "close-timeout",
	"server.DrainRate": "drain-rate", "server.DrainDelay": "drain-delay", "server.DrainSpread": "drain-spread", "server.DurableTopics": "durable-topic",
	"server.PresenceTopics": "presence-topic", "server.PresenceGrace": "offline-grace",
	"server.Path": "path", "server.Rate.Messages": "max-message-rate", "server.Rate.Bytes": "max-byte-rate",
	"server.MaxMessage": "max-message", "server.Deflate.Level": "compression-level",
	"server.Deflate.MinSize": "compression-min", "server.Deflate.MaxRatio": "compression-ratio",
	"server.Deflate.ContextBits": "compression-context",

	"server.Identifiers": "connect-hook-concurrency", "server.IdentifierQueue": "connect-hook-queue",

	"server.Responders": "message-concurrency", "server.ResponderQueue": "message-queue",

	"messagehook.URL": "message-hook", "messagehook.Secrets": "message-hook-key-file", "messagehook.Timeout": "message-hook-timeout",
	"messagehook.Connections": "message-concurrency",

	"messagenats.Subject": "message-subject", "messagenats.Timeout": "message-subject-timeout", "messagenats.URL": "nats", "messagenats.Credentials": "nats-creds",
	"messagenats.CA": "nats-ca", "messagenats.Cert": "nats-cert", "messagenats.Key": "nats-key", "messagenats.Answer": "message-subject-answer",

	"connecthook.URL": "connect-hook", "connecthook.Secrets": "connect-hook-key-file", "connecthook.Headers": "connect-hook-headers",
	"connecthook.Cookies": "connect-hook-cookies", "connecthook.Query": "connect-hook-query", "connecthook.Timeout": "connect-hook-timeout",
	"connecthook.Concurrency": "connect-hook-concurrency",

	"api.Listen": "api", "api.Keys": "api-key-file", "api.TLS": "api-tls-cert",

	"acme.Domains": "acme-domain", "acme.Agreed": "acme-agree", "acme.CA": "acme-ca", "acme.HTTP": "acme-http", "acme.Dir": "data-dir",
	"acme.URL": "nats", "acme.Credentials": "nats-creds", "acme.Cert": "nats-cert", "acme.Key": "nats-key",

	"inbox.Dir": "data-dir", "inbox.URL": "nats", "inbox.CA": "nats-ca", "cluster.CA": "nats-ca", "inbox.Credentials": "nats-creds", "inbox.Cert": "nats-cert", "inbox.Key": "nats-key",
	"inbox.Replicas": "nats-replicas", "inbox.Messages": "inbox-messages", "inbox.Bytes": "inbox-bytes",
	"inbox.Age": "inbox-age", "inbox.Disk": "inbox-disk", "inbox.Positions": "inbox-positions",
	"inbox.UserFull": "inbox-full", "inbox.DiskFull": "inbox-disk-full", "inbox.Window": "inbox-window",
	"inbox.AcceptLoss": "inbox-accept-loss", "inbox.Sync": "inbox-sync", "inbox.MaxPayload": "max-payload",

	"ticket.Age": "resume-ticket-age", "ticket.Keys": "resume-tickets",

	"revoke.Age": "revocation-age", "revoke.Entries": "revocation-entries",

	"cluster.URL": "nats", "cluster.Credentials": "nats-creds", "cluster.Cert": "nats-cert", "cluster.Key": "nats-key",
	"cluster.Name": "node-name",

	"presence.URL": "nats", "presence.Credentials": "nats-creds", "presence.CA": "nats-ca", "presence.Cert": "nats-cert", "presence.Key": "nats-key",
	"presence.Grace": "offline-grace",

	"webhook.Hooks": "webhook", "webhook.Secrets": "webhook-secret-file", "webhook.CA": "webhook-ca", "webhook.InsecureHTTP": "webhook-insecure-http",
	"webhook.MaxBytes": "webhook-queue", "webhook.MaxEscalations": "inbox-positions", "webhook.MaxAge": "webhook-age", "webhook.Timeout": "webhook-timeout",
	"webhook.OfflineGrace": "offline-grace", "webhook.Node": "node-name", "webhook.URL": "nats", "webhook.Credentials": "nats-creds",
}

// FieldError is an error that names a field of a Config. Problem is the text that follows
// the name, without the default for which the value 0 stands: here 0 is an error.
type FieldError interface {
	error
	Field() string
	Problem() string
}

// endpointError is an error in one endpoint. All endpoints have the same flags.
type endpointError interface{ EndpointPath() string }

// rewordable is an error whose text contains those of other errors.
type rewordable interface {
	Reword(words func(error) string) string
}

// InFlags words an error of a library for the command line: where the error names a
// field of a package's Config, the flag takes its place.
func InFlags(pkg string, err error) error {
	return &worded{strings.TrimPrefix(wording{pkg}.of(err), pkg+": "), err}
}

// fieldNames returns FieldName of a package's Config: a field that has no flag keeps its name.
func fieldNames(pkg string) func(field string) string {
	return func(field string) string {
		if flag, ok := flagOf[pkg+"."+field]; ok {
			return "--" + flag
		}
		return "Config." + field
	}
}

// wording words errors of a package.
type wording struct{ pkg string }

// of returns the text of err with flags in place of fields.
func (w wording) of(err error) string {
	switch e := err.(type) { //nolint:errorlint // the tree is walked here
	case FieldError:
		if flag, ok := flagOf[w.pkg+"."+e.Field()]; ok {
			return "--" + flag + " " + e.Problem()
		}
	case endpointError:
		return w.of(errors.Unwrap(err))
	case rewordable:
		return e.Reword(w.of)
	case interface{ Unwrap() []error }:
		if all := e.Unwrap(); err.Error() == errors.Join(all...).Error() {
			return w.ofAll(all)
		}
	case interface{ Unwrap() error }: // a type around an error, with the error's text
		if inner := e.Unwrap(); inner != nil && inner.Error() == err.Error() {
			return w.of(inner)
		}
	}
	return err.Error()
}

// ofAll returns a line for each error; endpoints that share a flag share its error.
func (w wording) ofAll(all []error) string {
	var lines []string
	for _, err := range all {
		if line := w.of(err); !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// worded is an error in words of the command line.
type worded struct {
	text string
	err  error
}

func (w *worded) Error() string { return w.text }
func (w *worded) Unwrap() error { return w.err }
