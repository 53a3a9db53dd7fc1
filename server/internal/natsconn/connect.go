package natsconn

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// WriteTimeout bounds a write to a NATS server that does not read, such as a
// paused process. NATS's client holds its lock meanwhile.
const WriteTimeout = 2 * time.Second

const (
	// dialTimeout bounds one attempt, startTimeout all attempts within Connect.
	dialTimeout  = 2 * time.Second
	startTimeout = 5 * time.Second
	// Two missed pings end a connection: after 10 to 15 s.
	pingInterval = 5 * time.Second
	pingsMissed  = 2
	// reconnectWait, plus up to as much at random, separates attempts at a server.
	reconnectWait = 250 * time.Millisecond
)

// Handlers are called by goroutines of NATS's client and must not block. Each may
// be nil.
type Handlers struct {
	// Connected is called when the connection is established. again is false only
	// for the first time: what others published before has been missed.
	Connected func(nc *nats.Conn, again bool)
	// Lost is called when the connection breaks and for each failed attempt, with
	// the reason.
	Lost func(err error)
	// Dropped is called when incoming messages of a subscription were discarded,
	// because its consumer was too slow.
	Dropped func(sub *nats.Subscription)
}

// Connect returns a connection that is established, or will be as soon as a NATS
// server accepts it. An error is one that retrying does not cure.
func Connect(cfg Config, h Handlers) (*nats.Conn, error) { return connect(cfg, h, time.Now) }

func connect(cfg Config, h Handlers, now func() time.Time) (*nats.Conn, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if err := Validate(cfg); err != nil {
		return nil, err
	}
	urls, err := parseURLs(cfg.URL)
	if err != nil {
		return nil, err
	}
	files, err := cfg.files()
	if err != nil {
		return nil, err
	}
	servers := make([]string, len(urls))
	for i, u := range urls {
		servers[i] = u.String()
	}
	d := &dialer{now: now, until: now().Add(startTimeout), traffic: cfg.Traffic}
	if d.traffic == nil {
		d.traffic = new(Traffic)
	}
	c := &conn{now: now, log: cfg.Logger.With("connection", cfg.Role), url: Redact(cfg.URL), h: h}
	opts := append(c.options(), nats.Name(cfg.Name), nats.SetCustomDialer(d))
	opts = append(opts, files...)
	all := strings.Join(servers, ",")

	nc, err := nats.Connect(all, opts...)
	if err == nil {
		d.started.Store(true)
		return nc, nil
	}
	if reason := permanent(err); reason != "" {
		return nil, fmt.Errorf("NATS at %s %s: %w", c.url, reason, err)
	}
	// A second attempt returns a connection that keeps trying. Its first round,
	// for which nats.Connect waits, is over at once.
	d.until = time.Time{}
	retrying, again := nats.Connect(all, append(opts, nats.RetryOnFailedConnect(true))...)
	if again != nil {
		return nil, fmt.Errorf("NATS at %s: %w", c.url, again) // a file, or an option
	}
	d.started.Store(true)
	c.lost(err)
	c.log.Warn("NATS unreachable", "url", c.url, "err", err, "retry", "until it answers")
	return retrying, nil
}

// permanent returns what an operator has to correct before the error of a first
// attempt can go away; empty: retrying may help.
func permanent(err error) string {
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired),
		errors.Is(err, nats.ErrAuthRevoked), errors.Is(err, nats.ErrAccountAuthExpired):
		return "rejects this client; check its credentials, or the user and password in the URL"
	case errors.As(err, &certificate):
		return "has a certificate that does not verify; check the CA"
	}
	return ""
}

// dialer gives the attempts within Connect a common deadline, so that a
// list of servers which do not answer does not hold up the start.
type dialer struct {
	now     func() time.Time // the clock; time.Now, but for tests
	until   time.Time        // immutable while nats.Connect runs
	started atomic.Bool
	traffic *Traffic
}

var errStartTimeout = errors.New("no time left for another attempt at start")

func (d *dialer) Dial(network, address string) (net.Conn, error) {
	timeout := dialTimeout
	if !d.started.Load() {
		timeout = min(timeout, d.until.Sub(d.now()))
		if timeout <= 0 {
			return nil, errStartTimeout
		}
	}
	c, err := net.DialTimeout(network, address, timeout)
	if err != nil {
		return nil, err
	}
	return failingConn{c, d.traffic}, nil
}

// failingConn ends with the first write that fails. NATS's client discards what it
// buffered then, subscriptions among it, and in some cases goes on; reconnected, it
// subscribes again. It counts what it reads and writes.
type failingConn struct {
	net.Conn
	traffic *Traffic
}

func (c failingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.traffic.Read.Add(int64(n))
	return n, err
}

func (c failingConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.traffic.Written.Add(int64(n))
	if err != nil {
		c.Conn.Close()
	}
	return n, err
}

// conn logs what happens to a connection.
type conn struct {
	now func() time.Time // the clock; time.Now, but for tests
	log *slog.Logger
	url string // redacted
	h   Handlers

	repeated repeated
}

func (c *conn) options() []nats.Option {
	return []nats.Option{
		nats.NoEcho(), // what a node publishes for others is not for itself
		nats.Timeout(dialTimeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectWait, reconnectWait),
		nats.ReconnectBufSize(-1), // a publish fails while disconnected
		nats.FlusherTimeout(WriteTimeout),
		nats.ReconnectOnFlusherError(),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(pingsMissed),
		nats.IgnoreAuthErrorAbort(), // credentials may be replaced meanwhile
		nats.ConnectHandler(func(nc *nats.Conn) {
			c.log.Info("NATS connected", "url", Redact(nc.ConnectedUrl()))
			if c.h.Connected != nil {
				c.h.Connected(nc, false)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			c.log.Info("NATS reconnected", "url", Redact(nc.ConnectedUrl()))
			if c.h.Connected != nil {
				c.h.Connected(nc, true)
			}
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err == nil { // closed by this process
				return
			}
			c.log.Warn("NATS disconnected", "url", c.url, "err", err)
			c.lost(err)
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			if errors.Is(err, errStartTimeout) {
				return // Connect has not returned yet
			}
			if c.repeated.allow("reconnect "+err.Error(), c.now()) {
				c.log.Warn("NATS reconnect failed", "url", c.url, "err", err)
			}
			c.lost(err)
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if c.repeated.allow(err.Error(), c.now()) {
				c.log.Warn("NATS reports an error", "url", c.url, "err", err)
			}
			if errors.Is(err, nats.ErrSlowConsumer) && c.h.Dropped != nil {
				c.h.Dropped(sub)
			}
		}),
	}
}

func (c *conn) lost(err error) {
	if c.h.Lost != nil {
		c.h.Lost(err)
	}
}
