package main

import (
	"errors"
	"regexp"
	"slices"
	"strings"
)

// flagOf names the flag for each field that an error of a library may name, by package.
var flagOf = map[string]string{
	"server.Listen": "listen", "server.TLS": "tls-cert", "server.InsecureIdentity": "insecure-identity", "server.AllowOrigins": "allow-origin",
	"server.Workers": "workers", "server.QueueBytes": "queue-bytes", "server.MaxConnections": "max-connections",
	"server.ConnectionsPerIP": "connections-per-ip", "server.HandshakesPerIP": "handshakes-per-ip",
	"server.HandshakeRate": "handshake-rate", "server.SessionsPerUser": "sessions-per-user",
	"server.SessionsFull": "sessions-full", "server.TopicsPerSession": "topics-per-session",
	"server.PositionsPerUser": "positions-per-user", "server.PositionsPerIP": "positions-per-ip",
	"server.MaxPayload": "max-payload", "server.HandshakeTimeout": "handshake-timeout", "server.MaxHeader": "max-header",
	"server.PingInterval": "ping-interval", "server.PingTimeout": "ping-timeout", "server.CloseTimeout": "close-timeout",
	"server.DrainRate": "drain-rate", "server.DrainDelay": "drain-delay", "server.DurableTopics": "durable-topic",
	"server.Path": "path", "server.Rate.Messages": "max-message-rate", "server.Rate.Bytes": "max-byte-rate",
	"server.MaxMessage": "max-message", "server.Deflate.Level": "compression-level",
	"server.Deflate.MinSize": "compression-min", "server.Deflate.MaxRatio": "compression-ratio",
	"server.Deflate.ContextBits": "compression-context",

	"api.Listen": "api", "api.Keys": "api-key-file",

	"inbox.URL": "nats", "inbox.Credentials": "nats-creds", "inbox.Cert": "nats-cert", "inbox.Key": "nats-key",
	"inbox.Replicas": "nats-replicas", "inbox.Messages": "inbox-messages", "inbox.Bytes": "inbox-bytes",
	"inbox.Age": "inbox-age", "inbox.Disk": "inbox-disk", "inbox.Positions": "inbox-positions",
	"inbox.UserFull": "inbox-full", "inbox.DiskFull": "inbox-disk-full", "inbox.Window": "inbox-window",
	"inbox.AcceptLoss": "inbox-accept-loss", "inbox.Sync": "inbox-sync", "inbox.MaxPayload": "max-payload",

	"cluster.URL": "nats", "cluster.Credentials": "nats-creds", "cluster.Cert": "nats-cert", "cluster.Key": "nats-key",
	"cluster.Name": "node-name",
}

// zeroForDefault is how libraries say that zero is the default; here it is an error.
var zeroForDefault = regexp.MustCompile(`want 0 \(for \d+\)`)

// fieldError is an error that names a field of a Config, with which its text begins.
type fieldError interface {
	error
	Field() string
}

// inFlags words an error of a library for the command line: where the error names a
// field of a package's Config, the flag takes its place.
func inFlags(pkg string, err error) error {
	text := strings.TrimPrefix(err.Error(), pkg+": ")
	for _, e := range fieldErrors(err) {
		if flag, ok := flagOf[pkg+"."+e.Field()]; ok {
			problem := strings.TrimPrefix(e.Error(), e.Field())
			problem = zeroForDefault.ReplaceAllString(problem, "want 1")
			text = strings.Replace(text, e.Error(), "--"+flag+problem, 1)
		}
	}
	// Endpoints have the same settings, and so the same errors.
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "endpoint ") {
			_, line, _ = strings.Cut(line, ": ")
		}
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return &worded{strings.Join(lines, "\n"), err}
}

// worded is an error in words of the command line.
type worded struct {
	text string
	err  error
}

func (w *worded) Error() string { return w.text }
func (w *worded) Unwrap() error { return w.err }

// fieldErrors returns all errors in the tree of err that name a field.
func fieldErrors(err error) (found []fieldError) {
	if e, ok := err.(fieldError); ok { //nolint:errorlint // the tree is walked here
		return []fieldError{e}
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range many.Unwrap() {
			found = append(found, fieldErrors(e)...)
		}
		return found
	}
	if e := errors.Unwrap(err); e != nil {
		return fieldErrors(e)
	}
	return nil
}
