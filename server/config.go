package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"fanfare/frame"
	"fanfare/netpoll"
	"fanfare/registry"
	"fanfare/server/inbox"
)

// Config of a Server. The zero value is the safe default of every field: no
// listener, no limit off. Durations are rounded up to the tick of the timer
// wheel, 100 ms.
type Config struct {
	// Listen is the address of the public listener, "host:port" or "unix:PATH".
	// Empty: none, connections come by Upgrade only.
	Listen string
	// API is the address of the HTTP API. Empty: none.
	API string
	// APIKeys are accepted as "Authorization: Bearer KEY" by the API. Without
	// any, the API may listen on loopback or a Unix socket only.
	APIKeys []string
	// Pprof serves /debug/pprof on the API listener.
	Pprof bool

	// Endpoints of the public listener. Empty: Push at /ws and Echo at /echo,
	// users named by the query, which is refused on a listener that is not
	// loopback unless InsecureIdentity says so.
	Endpoints []Endpoint
	// InsecureIdentity lets endpoints without authentication listen beyond
	// loopback.
	InsecureIdentity bool
	// AllowOrigins are the origins of pages that may connect beside those of
	// the same host: "https://app.example.com", "https://*.example.com" or "*".
	// Clients that send no Origin are not browsers and always may.
	AllowOrigins []string

	// Transport, Workers and QueueBytes are passed to netpoll.Config.
	Transport  netpoll.Transport
	Workers    int
	QueueBytes int

	// MaxConnections bounds the connections that are open at a time, those in
	// their handshake included. 0: what the descriptor limit allows, less a
	// reserve of 1/16 (64 at the least) for everything else.
	MaxConnections int
	// ConnectionsPerIP bounds those from one address, or one /64 of IPv6. 0:
	// 1,000, which leaves room for an office behind one address. Loopback and
	// Unix sockets are exempt from the limits per address.
	ConnectionsPerIP int
	// HandshakesPerIP bounds those from one address, a second; ten times as many
	// may come at once. 0: 50.
	HandshakesPerIP int
	// HandshakeRate bounds all handshakes, a second; ten times as many may come
	// at once. 0: 20,000.
	HandshakeRate int
	// TrustedProxies are the load balancers whose X-Forwarded-For is believed. What
	// comes through one without an address there counts as the proxy's own, on
	// loopback too.
	TrustedProxies []netip.Prefix
	// SessionsPerUser bounds the devices of one user. 0: 16.
	SessionsPerUser int
	// TopicsPerSession bounds what one connection follows. 0: 100.
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
	// for a topic or everybody, when a connection's queue is full.
	UserFull, TopicFull WhenFull

	// DrainRate is how many connections a second are closed on Shutdown. 0:
	// 2,000.
	DrainRate int

	// Inbox keeps messages for users who are away. nil: there is none, and
	// durable pushes are refused.
	Inbox *inbox.Config
	// DurableTopics are the topics that Inbox keeps too, so that a follower who
	// comes back resumes. A name that ends with "*" stands for all that begin
	// alike. Only what is stored is kept: see Server.PublishDurable.
	DurableTopics []string

	// Logger; nil: slog.Default().
	Logger *slog.Logger
}

// ParseTransport reads the name of a transport: "epoll", "easygo", "goroutine" or
// "default".
func ParseTransport(s string) (netpoll.Transport, error) { return netpoll.ParseTransport(s) }

// WhenFull is a policy for a full queue.
type WhenFull uint8

const (
	// FullDefault is FullClose for user pushes and FullDropOldest for topics
	// and broadcasts.
	FullDefault WhenFull = iota
	// FullClose ends the slow connection with 1013.
	FullClose
	// FullDropOldest drops the oldest messages that may be dropped.
	FullDropOldest
)

// ParseWhenFull reads "close" or "drop-oldest".
func ParseWhenFull(s string) (WhenFull, error) {
	switch s {
	case "close":
		return FullClose, nil
	case "drop-oldest":
		return FullDropOldest, nil
	}
	return 0, fmt.Errorf("unknown policy %q: want close or drop-oldest", s)
}

func (w WhenFull) policy(def netpoll.Policy) netpoll.Policy {
	switch w {
	case FullClose:
		return netpoll.CloseOnFull
	case FullDropOldest:
		return netpoll.DropOldest
	}
	return def
}

// tick of the timer wheel: heartbeats and deadlines are as coarse.
const (
	tick           = 100 * time.Millisecond
	ticksPerSecond = uint32(time.Second / tick)
)

// validate fills in the defaults and says what is wrong.
func (cfg *Config) validate() error {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if len(cfg.Endpoints) == 0 {
		cfg.Endpoints = []Endpoint{Push("/ws"), Echo("/echo")}
	}
	cfg.Endpoints = slices.Clone(cfg.Endpoints) // the caller may use his for another server
	if cfg.MaxConnections == 0 {
		cfg.MaxConnections = descriptorLimit()
	}
	var errs []error
	ints := []struct {
		name          string
		v             *int
		def, low, top int
	}{
		{"MaxConnections", &cfg.MaxConnections, 0, 1, 1 << 30},
		{"ConnectionsPerIP", &cfg.ConnectionsPerIP, 1000, 1, 1 << 30},
		{"HandshakesPerIP", &cfg.HandshakesPerIP, 50, 1, 1 << 30},
		{"HandshakeRate", &cfg.HandshakeRate, 20_000, 1, 1 << 30},
		{"SessionsPerUser", &cfg.SessionsPerUser, 16, 1, 1 << 20},
		{"TopicsPerSession", &cfg.TopicsPerSession, 100, 1, 1 << 20},
		{"MaxPayload", &cfg.MaxPayload, 1 << 20, 1, 1 << 30},
		{"MaxHeader", &cfg.MaxHeader, 8 << 10, 256, 60 << 10},
		{"DrainRate", &cfg.DrainRate, 2000, 1, 1 << 30},
	}
	for _, f := range ints {
		if *f.v == 0 {
			*f.v = f.def
		}
		if *f.v < f.low || *f.v > f.top {
			errs = append(errs, fmt.Errorf("%s is %d: want %d to %d", f.name, *f.v, f.low, f.top))
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
	}
	for _, f := range durations {
		if *f.v == 0 {
			*f.v = f.def
		}
		if *f.v < tick || *f.v > 24*time.Hour {
			errs = append(errs, fmt.Errorf("%s is %v: want %v to 24h", f.name, *f.v, tick))
		}
	}
	seen := map[string]bool{}
	for i := range cfg.Endpoints {
		ep := &cfg.Endpoints[i]
		if err := ep.validate(); err != nil {
			errs = append(errs, err)
		}
		if seen[ep.Path] {
			errs = append(errs, fmt.Errorf("two endpoints at %s", ep.Path))
		}
		seen[ep.Path] = true
		if ep.Rate.UnlimitedOnLoopback && isLoopback(cfg.Listen) {
			ep.Rate.Unlimited = true
		}
		if cfg.Listen != "" && ep.Insecure && !cfg.InsecureIdentity && !isLoopback(cfg.Listen) {
			errs = append(errs, fmt.Errorf("%s believes whatever name a client gives, and %s is not loopback: "+
				"authenticate users (--auth jwt), listen on 127.0.0.1, or say --insecure-identity", ep.Path, cfg.Listen))
		}
	}
	if len(cfg.DurableTopics) > 0 && cfg.Inbox == nil {
		errs = append(errs, errors.New("durable topics need an inbox: give --data-dir or --nats"))
	}
	for _, topic := range cfg.DurableTopics {
		if err := registry.CheckName(topic); err != nil {
			errs = append(errs, fmt.Errorf("durable topic: %w", err))
		}
	}
	for _, o := range cfg.AllowOrigins {
		if err := checkOriginPattern(o); err != nil {
			errs = append(errs, err)
		}
	}
	for _, key := range cfg.APIKeys {
		if len(key) < minKey {
			errs = append(errs, fmt.Errorf("an API key of %d bytes is too short: want at least %d", len(key), minKey))
		}
	}
	if cfg.API != "" && len(cfg.APIKeys) == 0 && !isLoopback(cfg.API) {
		errs = append(errs, fmt.Errorf("the API listens on %s, which is not loopback, without a key: "+
			"give --api-key-file, or listen on 127.0.0.1", cfg.API))
	}
	if len(errs) > 0 {
		return fmt.Errorf("server: %w", errors.Join(errs...))
	}
	return nil
}

// minKey is the shortest API key: 16 random characters are 64 bits at least.
const minKey = 16

// isLoopback tells whether only this machine can reach an address: loopback, or
// a Unix socket.
func isLoopback(addr string) bool {
	if strings.HasPrefix(addr, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// Endpoint is what one path of the public listener speaks.
type Endpoint struct {
	// Path, exactly: "/ws".
	Path string
	// Identify names the user of a connection, from its request. nil: nobody,
	// the session is in no registry and reached by no push. It must not block.
	Identify func(*Request) (Identity, error)
	// Insecure tells that Identify proves nothing, so that Config.validate can
	// refuse to expose it.
	Insecure bool
	// Protocols that are spoken, RFC 6455 section 1.9; the first that the client
	// offers is chosen. A client that offers none of them gets none, as the
	// RFC says, and decides itself whether to go on.
	Protocols []string
	// Rules for what comes in, and for compression. The zero value is safe.
	Rules frame.Rules
	// Rate limits what one connection may send. The zero value is the default.
	Rate Rate
	// Compress offers permessage-deflate, RFC 7692, as Rules.Deflate says. It
	// costs CPU for each message, and no memory for a connection that is idle.
	Compress bool
	// Hooks are the application.
	Hooks Hooks
}

func (ep *Endpoint) validate() error {
	if !strings.HasPrefix(ep.Path, "/") || strings.ContainsAny(ep.Path, "?# \r\n") {
		return fmt.Errorf("endpoint path %q must begin with / and have no query", ep.Path)
	}
	for _, p := range ep.Protocols {
		if !isToken(p) {
			return fmt.Errorf("endpoint %s: sub-protocol %q is no token (RFC 6455, 4.1)", ep.Path, p)
		}
	}
	if err := ep.Rate.validate(); err != nil {
		return fmt.Errorf("endpoint %s: %w", ep.Path, err)
	}
	if err := ep.Rules.Validate(); err != nil {
		return fmt.Errorf("endpoint %s: %w", ep.Path, err)
	}
	return nil
}

// Identity is who a connection belongs to.
type Identity struct {
	// User; empty: nobody. registry.CheckName says what a name may be.
	User string
	// Topics to follow from the beginning.
	Topics []string
	// MayFollow are the topics that a client of fanfare.v1 may follow besides, when
	// it asks. A name that ends with "*" stands for all that begin alike.
	MayFollow []string
	// Data is kept for Session.Data.
	Data any
	// Expires, if not zero, is when the session is closed with 3000, give or take
	// Config.PingInterval.
	Expires time.Time
}

// Push is the endpoint for push sessions: the query names user and topics, what
// clients send is read and ignored. Use Authenticated for real identities.
func Push(path string) Endpoint {
	return Endpoint{Path: path, Identify: FromQuery, Insecure: true, Protocols: []string{ProtocolV1}}
}

// Echo is the endpoint that sends every message back, for measuring: on loopback its
// Rate is unlimited. Mounted, where nobody knows on which address, it has the default.
func Echo(path string) Endpoint {
	return Endpoint{Path: path, Rate: Rate{UnlimitedOnLoopback: true}, Hooks: Hooks{OnMessage: func(s *Session, op Op, payload []byte) {
		s.Send(op, payload)
	}}}
}

// anyTopic is shared by all who may follow what they like.
var anyTopic = []string{"*"}

// FromQuery believes the query: ?user=NAME (or userId), &topic= any number of
// times. It is for development.
func FromQuery(r *Request) (Identity, error) {
	user := r.Query("user")
	if user == "" {
		user = r.Query("userId")
	}
	if user == "" {
		return Identity{}, Refuse(400, "no user: connect to "+r.Path()+"?user=NAME")
	}
	return Identity{User: user, Topics: r.QueryAll("topic"), MayFollow: anyTopic}, nil
}

func (cfg *Config) limits() registry.Limits {
	return registry.Limits{SessionsPerUser: cfg.SessionsPerUser, TopicsPerSession: cfg.TopicsPerSession}
}
