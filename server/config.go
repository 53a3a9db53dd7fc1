package server

import (
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"fanfare/netpoll"
	"fanfare/registry"
	"fanfare/server/internal/field"
	"fanfare/server/internal/handshake"
	"fanfare/server/internal/limit"
	"fanfare/server/internal/secure"
	"fanfare/server/listen"
	"fanfare/server/revoke"
	"fanfare/server/store"
)

// Config configures a Server. The zero value of every field is a safe default: no
// listener, and every limit on. Durations are rounded up to 100 ms.
type Config struct {
	// Version of the program, for Nodes; may be empty.
	Version string
	// Listen is the address of the public listener, as for the function Listen. Empty:
	// none, connections come through a Mount only.
	Listen string
	// TLS serves the public listener with TLS; nil: without. NewTLS makes it of a
	// tls.Config, and Server.SetTLS replaces that. It needs a certificate: Certificates,
	// GetCertificate or GetConfigForClient. NextProtos is always http/1.1. Keys of session
	// tickets are made by the Server and changed every day, whatever SetSessionTicketKeys
	// has set; nodes that share tickets set WrapSession and UnwrapSession.
	//
	// An idle connection of TLS 1.3 keeps 0.3 KiB more than one without TLS, and one of TLS
	// 1.2 7 KiB: MinVersion rejects those. See docs/tls.md.
	TLS *TLS
	// Fallback serves requests of the public listener that are not WebSocket
	// handshakes; each connection serves one. nil: they are answered 404, or 426
	// at the path of an endpoint.
	Fallback http.Handler

	// Endpoints of the public listener. Empty: PushEndpoint("/ws") and
	// EchoEndpoint("/echo"). New rejects endpoints that let clients choose their user
	// for a listener that is not loopback, unless InsecureIdentity is set.
	Endpoints []Endpoint
	// InsecureIdentity lets endpoints without authentication listen beyond
	// loopback.
	InsecureIdentity bool
	// AllowOrigins are the origins of pages that may connect, in addition to those of
	// the same host: "https://app.example.com", "https://*.example.com", "null",
	// "capacitor://localhost" and other origins as browsers write them, or "*".
	// Clients without an Origin are not browsers, and may always connect.
	AllowOrigins []string
	// Identifiers bounds the goroutines that run Identifiers. A connection that waits
	// for one of them has no goroutine. 0: 256.
	Identifiers int
	// IdentifierQueue bounds the connections that wait for one of them; more are
	// rejected with 503. Each takes about 1.5 KiB. 0: 20,000.
	IdentifierQueue int

	// Responders bounds the goroutines that run Responders. 0: 64.
	Responders int
	// ResponderQueue bounds the messages of clients that wait for one of them; more are
	// rejected, and so are more than 64 of one session. 0: 4,096.
	ResponderQueue int

	// Transport, Workers and QueueBytes are passed to netpoll.Config.
	Transport  netpoll.Transport
	Workers    int
	QueueBytes int

	// MaxConnections bounds the connections that are open at a time, including those
	// in their handshake. 0: what the descriptor limit has room for, which is the maximum:
	// 15/16 of it, less 96 for files and less OtherDescriptors.
	MaxConnections int
	// OtherDescriptors is how many descriptors the program may need at a time for what this
	// package does not know, such as requests to backends. The HTTP API, with the default of
	// its MaxConnections, and a store are not part of that.
	OtherDescriptors int
	// ConnectionsPerIP bounds those from one address, or one /64 of IPv6. 0:
	// 1,000, which leaves room for an office that shares an address. Loopback and
	// Unix sockets are exempt from the limits per address.
	ConnectionsPerIP int
	// HandshakesPerIP bounds those from one address, a second; ten times as many
	// may come at once. 0: 50.
	HandshakesPerIP int
	// HandshakeRate bounds all handshakes, a second; ten times as many may come
	// at once. 0: 20,000.
	HandshakeRate int
	// TrustedProxies are the load balancers whose X-Forwarded-For is believed, and
	// whose X-Forwarded-Host is compared with Origin, too. A connection that comes
	// through one without an address counts as the proxy's own, on loopback too.
	TrustedProxies []netip.Prefix
	// Forwarded says that these proxies name the client, and the host, in Forwarded (RFC
	// 7239) instead. Only one of both is read: a proxy that writes one of them passes on what
	// the client has sent in the other.
	Forwarded bool
	// ProxyProtocol are the proxies, such as a load balancer for TCP, whose connections begin
	// with a PROXY protocol header, version 1 or 2, before TLS if there is TLS. The client
	// that it names takes the place of the peer: for limits, logs, Session.RemoteAddr and
	// TrustedProxies. A connection of such a proxy without a header is rejected, and so is
	// one that has a header and comes from elsewhere.
	ProxyProtocol []netip.Prefix
	// SessionsPerUser bounds the sessions of one user on this node: in a cluster of
	// n nodes a user may have n times as many. 0: 16.
	SessionsPerUser int
	// SessionsFull says what happens to a user's session beyond that.
	SessionsFull SessionsFull
	// TopicsPerSession bounds the subscriptions of one session. 0: 100.
	TopicsPerSession int
	// MaxPayload bounds a pushed message, in bytes. 0: 1 MiB.
	MaxPayload int

	// HandshakeTimeout is from accept to the end of the request. 0: 10 s.
	HandshakeTimeout time.Duration
	// MaxHeader bounds the request, in bytes. 0: 8 KiB.
	MaxHeader int
	// PingInterval is how long a connection may be silent before it is pinged.
	// 0: 25 s.
	PingInterval time.Duration
	// PingTimeout is how long a pinged connection may stay silent. 0: 10 s.
	PingTimeout time.Duration
	// CloseTimeout bounds the closing handshake. 0: 5 s.
	CloseTimeout time.Duration

	// UserFull says what happens to a message for one user, TopicFull to one
	// for a topic or for every session, when the outbound queue is full.
	UserFull, TopicFull WhenFull

	// DrainDelay is how long Drain and Shutdown wait, with Status Leaving, before they
	// close the listener, so that load balancers notice. 0: they do not wait.
	DrainDelay time.Duration
	// DrainRate is how many connections a second are closed on Shutdown. 0:
	// 2,000.
	DrainRate int
	// DrainSpread is the time within which clients are to come back, which the reason of their
	// close frame names. 0: 5 s.
	DrainSpread time.Duration

	// Store keeps messages for users who are away, see package inbox. nil: no
	// message is stored. The caller closes it, after Shutdown.
	Store store.Store
	// DurableTopics are the topics that Store keeps too, so that a subscriber that
	// reconnects resumes. A name that ends with "*" stands for every name with that
	// prefix. Only what PublishStored has stored is kept.
	DurableTopics []string
	// PositionsPerUser bounds the durable topics in which a node stores, for one user,
	// what was acknowledged, and PositionsPerIP those for the users of one address, or
	// one /64 of IPv6, within the time for which positions are stored (with package
	// inbox twice its Age). It concerns topics that clients choose: those of
	// Identity.Topics count if a name in Identity.MaySubscribe that ends with "*"
	// permits them, those of SubscribeUser and inboxes never. Beyond it messages are delivered, and the user resumes in
	// further topics only where the client names its offset. 0: 1,000 and 10,000.
	PositionsPerUser, PositionsPerIP int
	// PresenceTopics are the topics whose subscribers are told which users join and leave: with
	// the first session of a user that subscribes, and PresenceGrace after the last one has
	// unsubscribed or ended. A name that ends with "*" stands for every name with that prefix.
	// Sessions get these messages if their dialect is a PresenceDialect, and if
	// Identity.MayReadPresence names the topic or the endpoint is Insecure. In a cluster
	// the Observer must be that of package presence, which has the grace period, too.
	PresenceTopics []string
	PresenceGrace  time.Duration
	// Announce is AnnounceMembers. It is required with PresenceTopics, so that a program without
	// them does not link it.
	Announce Announcer
	// Cluster connects the nodes of a cluster, see package cluster. nil: this
	// process is alone. Shutdown leaves it.
	Cluster Cluster
	// Observer learns of events, see package webhook. nil: nothing is done for them. The
	// caller ends it, after Shutdown.
	Observer Observer
	// Escalator reports messages that were not acknowledged in time, see package webhook. nil:
	// Entry.Escalate is rejected. The caller ends it, after Shutdown.
	Escalator Escalator

	// Started is when the service was started, if another process did that, whose sessions
	// this one takes over: Server.Started of the other one, by the clock of this one. The zero
	// value is now.
	Started time.Time
	// Revocations are the identities that are not accepted any more, see package revoke. They
	// concern sessions with a user. The caller closes it, after Shutdown. nil: none, and
	// sessions keep nothing for it.
	Revocations *revoke.List

	// FieldName returns what the program calls a field of Config, such as the flag that
	// sets it, for log lines and for answers to rejected handshakes that tell an operator
	// what to change. It is called concurrently. nil: "Config." followed by the field's
	// name.
	FieldName func(field string) string
	// Logger; nil: slog.Default().
	Logger *slog.Logger
}

// ParseTransport reads the name of a transport, "epoll", "easygo", "goroutine" or
// "default", for programs that take it from a flag or a file.
func ParseTransport(s string) (netpoll.Transport, error) { return netpoll.ParseTransport(s) }

// Validate returns the error with which New would reject cfg. An error in a field has a
// method Field() string, for errors.As, that names it.
func (cfg Config) Validate() error { return cfg.validate() }

// validate fills in defaults, and returns what is wrong with cfg.
func (cfg *Config) validate() error {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Started.IsZero() {
		cfg.Started = time.Now()
	}
	if len(cfg.Endpoints) == 0 {
		cfg.Endpoints = []Endpoint{PushEndpoint("/ws"), EchoEndpoint("/echo")}
	}
	cfg.Endpoints = slices.Clone(cfg.Endpoints) // the caller may use the slice for another server
	if cfg.MaxConnections == 0 {
		cfg.MaxConnections = limit.Divide(cfg.OtherDescriptors).Public
	}
	var errs []error
	ints := []struct {
		name          string
		v             *int
		def, low, top int
	}{
		{"MaxConnections", &cfg.MaxConnections, 0, 1, 1 << 30},
		{"OtherDescriptors", &cfg.OtherDescriptors, 0, 0, 1 << 30},
		{"ConnectionsPerIP", &cfg.ConnectionsPerIP, 1000, 1, 1 << 30},
		{"HandshakesPerIP", &cfg.HandshakesPerIP, 50, 1, 1 << 30},
		{"HandshakeRate", &cfg.HandshakeRate, 20_000, 1, 1 << 30},
		{"Identifiers", &cfg.Identifiers, 256, 1, 1 << 20},
		{"IdentifierQueue", &cfg.IdentifierQueue, 20_000, 1, 1 << 30},
		{"Responders", &cfg.Responders, 64, 1, 1 << 14},
		{"ResponderQueue", &cfg.ResponderQueue, 4096, 1, 1 << 20},
		{"SessionsPerUser", &cfg.SessionsPerUser, 16, 1, 1 << 20},
		{"TopicsPerSession", &cfg.TopicsPerSession, 100, 1, 1 << 20},
		{"PositionsPerUser", &cfg.PositionsPerUser, 1000, 1, 1 << 30},
		{"PositionsPerIP", &cfg.PositionsPerIP, 10_000, 1, 1 << 30},
		{"MaxPayload", &cfg.MaxPayload, 1 << 20, 1, 1 << 30},
		{"Workers", &cfg.Workers, 1024, 1, 1 << 16},
		{"QueueBytes", &cfg.QueueBytes, 64 << 10, 1 << 10, 1 << 30},
		{"MaxHeader", &cfg.MaxHeader, 8 << 10, 256, 60 << 10},
		{"DrainRate", &cfg.DrainRate, 2000, 1, 1 << 30},
	}
	for _, f := range ints {
		if *f.v == 0 {
			*f.v = f.def
		}
		if *f.v < f.low || *f.v > f.top {
			errs = append(errs, field.Errorf(f.name, "is %d: want %d to %d", *f.v, f.low, f.top))
		}
	}
	durations := []struct {
		name string
		v    *time.Duration
		def  time.Duration
	}{
		{"HandshakeTimeout", &cfg.HandshakeTimeout, 10 * time.Second},
		{"PingInterval", &cfg.PingInterval, 25 * time.Second},
		{"PingTimeout", &cfg.PingTimeout, 10 * time.Second},
		{"CloseTimeout", &cfg.CloseTimeout, 5 * time.Second},
		{"DrainSpread", &cfg.DrainSpread, 5 * time.Second},
	}
	for _, f := range durations {
		if *f.v == 0 {
			*f.v = f.def
		}
		if *f.v < tick || *f.v > 24*time.Hour {
			errs = append(errs, field.Errorf(f.name, "is %v: want %v to 24h", *f.v, tick))
		}
	}
	if cfg.TLS != nil {
		if err := secure.Validate(cfg.TLS.config); err != nil {
			errs = append(errs, err)
		}
	}
	if cfg.DrainDelay < 0 || cfg.DrainDelay > time.Hour {
		errs = append(errs, field.Errorf("DrainDelay", "is %v: want 0s to 1h", cfg.DrainDelay))
	}
	seen := map[string]bool{}
	for i := range cfg.Endpoints {
		ep := &cfg.Endpoints[i]
		if err := ep.validate(); err != nil {
			errs = append(errs, err)
		}
		if seen[ep.Path] {
			errs = append(errs, field.Errorf("Endpoints", "has two endpoints at %s", ep.Path))
		}
		seen[ep.Path] = true
		if ep.Rate.UnlimitedOnLoopback && listen.IsLoopback(cfg.Listen) {
			ep.Rate.Unlimited = true
		}
		if cfg.Listen != "" && ep.Insecure && !cfg.InsecureIdentity && !listen.IsLoopback(cfg.Listen) {
			errs = append(errs, field.Errorf("Listen", "is %s, which is not loopback, and clients of %s choose their user themselves: "+
				"identify users by Endpoint.Identifier, listen on 127.0.0.1, or set InsecureIdentity", cfg.Listen, ep.Path))
		}
	}
	if len(cfg.DurableTopics) > 0 && cfg.Store == nil {
		errs = append(errs, field.Errorf("DurableTopics", "needs a Store"))
	}
	for _, topic := range cfg.DurableTopics {
		if err := registry.CheckName(topic); err != nil {
			errs = append(errs, field.Errorf("DurableTopics", "has %q: %w", topic, err))
		}
	}
	for _, topic := range cfg.PresenceTopics {
		if err := registry.CheckName(topic); err != nil {
			errs = append(errs, field.Errorf("PresenceTopics", "has %q: %w", topic, err))
		}
	}
	if len(cfg.PresenceTopics) > 0 && cfg.Announce == nil {
		errs = append(errs, field.Errorf("Announce", "is nil, and there are PresenceTopics: want AnnounceMembers"))
	}
	if cfg.PresenceGrace < 0 || cfg.PresenceGrace > 24*time.Hour {
		errs = append(errs, field.Errorf("PresenceGrace", "is %v: want 0s to 24h", cfg.PresenceGrace))
	}
	if len(cfg.PresenceTopics) > 0 && cfg.Cluster != nil && (cfg.Observer == nil || !cfg.Observer.Wants(MemberJoined)) {
		errs = append(errs, field.Errorf("PresenceTopics", "needs, in a cluster, the Observer of package presence"))
	}
	if cfg.SessionsFull > SessionsCloseOldest {
		errs = append(errs, field.Errorf("SessionsFull", "is %d: want SessionsReject or SessionsCloseOldest", cfg.SessionsFull))
	}
	for _, o := range cfg.AllowOrigins {
		if err := handshake.ValidateOrigin(o); err != nil {
			errs = append(errs, field.Errorf("AllowOrigins", "has %w", err))
		}
	}
	if len(errs) > 0 {
		return field.Wrapf("server: %w", errors.Join(errs...))
	}
	return nil
}

func (cfg *Config) limits() registry.Limits {
	return registry.Limits{SessionsPerUser: cfg.SessionsPerUser, TopicsPerSession: cfg.TopicsPerSession}
}

// Reconfigure changes the configuration of a running server. These fields of cfg take
// effect:
//
//   - AllowOrigins, TrustedProxies, Forwarded, ProxyProtocol, HandshakeTimeout, HandshakesPerIP and
//     HandshakeRate for handshakes from now on;
//   - MaxConnections, ConnectionsPerIP, SessionsPerUser, SessionsFull and
//     TopicsPerSession for new connections, sessions and subscriptions: what exceeds a
//     lower limit stays;
//   - UserFull, TopicFull and the Rate of Endpoints for every session at once;
//   - PingInterval, PingTimeout and CloseTimeout for a session when its present timer has
//     fired, that is, within the former PingInterval;
//   - DrainDelay, DrainRate and DrainSpread when Drain is called.
//
// All other fields stay as New was given them, whatever cfg says, and so do the endpoints
// of a Mount. A zero field means its default, as for New: start from Config. The error is
// that of Validate, or says that Endpoints have other paths than the server's; then
// nothing is changed.
func (srv *Server) Reconfigure(cfg Config) error {
	if err := cfg.validate(); err != nil {
		return err
	}
	for _, ep := range cfg.Endpoints {
		if srv.endpoints[ep.Path] == nil {
			return field.Wrapf("server: %w", field.Errorf("Endpoints", "has one at %s, which the server does not serve: endpoints cannot be added while it runs", ep.Path))
		}
	}
	if len(cfg.Endpoints) != len(srv.endpoints) {
		return field.Wrapf("server: %w", field.Errorf("Endpoints", "has %d endpoints, the server serves %d: they cannot be removed while it runs", len(cfg.Endpoints), len(srv.endpoints)))
	}
	srv.changing.Lock()
	defer srv.changing.Unlock()
	next := srv.Config()
	next.AllowOrigins = cfg.AllowOrigins
	next.TrustedProxies = cfg.TrustedProxies
	next.ProxyProtocol = cfg.ProxyProtocol
	next.Forwarded = cfg.Forwarded
	next.HandshakeTimeout = cfg.HandshakeTimeout
	next.HandshakesPerIP = cfg.HandshakesPerIP
	next.HandshakeRate = cfg.HandshakeRate
	d := limit.Divide(next.OtherDescriptors)
	next.MaxConnections = withinDescriptors(cfg.MaxConnections, d)
	next.ConnectionsPerIP = cfg.ConnectionsPerIP
	next.SessionsPerUser = cfg.SessionsPerUser
	next.SessionsFull = cfg.SessionsFull
	next.TopicsPerSession = cfg.TopicsPerSession
	next.UserFull = cfg.UserFull
	next.TopicFull = cfg.TopicFull
	next.PingInterval = cfg.PingInterval
	next.PingTimeout = cfg.PingTimeout
	next.CloseTimeout = cfg.CloseTimeout
	next.DrainDelay = cfg.DrainDelay
	next.DrainRate = cfg.DrainRate
	next.DrainSpread = cfg.DrainSpread
	next.Endpoints = srv.withRates(cfg.Endpoints)
	if next.MaxConnections != srv.live().MaxConnections {
		warnAboutDescriptors(&cfg, d)
	}

	srv.current.Store(&next)
	srv.users.SetLimits(next.limits())
	srv.setLocalOnly()
	return nil
}
