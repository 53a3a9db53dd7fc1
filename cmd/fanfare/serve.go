package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

// serveCmd has the flags of the server. A field whose name is that of a field of
// server.Config means the same.
type serveCmd struct {
	Config configFile `help:"Read flags from this JSON file: {\"listen\": \"127.0.0.1:8088\", …}." placeholder:"FILE"`

	Listen      string `help:"Address of the public listener: HOST:PORT, or unix:PATH?mode=0660&owner=USER:GROUP." default:"127.0.0.1:8080" group:"Listeners"`
	API         string `name:"api" help:"Address of the API listener, likewise." default:"127.0.0.1:8081" group:"Listeners"`
	Path        string `help:"Path of the WebSocket endpoint; the echo endpoint and the console are in the same directory." default:"/ws" group:"Listeners"`
	Echo        bool   `help:"Serve an echo endpoint, which needs no token. By default only with --auth none on loopback without --trusted-proxy; --echo=false turns it off there." group:"Listeners"`
	Console     bool   `help:"Serve the test console." default:"true" negatable:"" group:"Listeners"`
	ConsolePush bool   `help:"Let the test console push, with an API key that is entered in it." group:"Listeners"`
	Pprof       bool   `help:"Serve /debug/pprof on the API listener." group:"Listeners"`

	authFlags        `embed:""`
	InsecureIdentity bool     `help:"Allow --auth none on addresses other than loopback." group:"Security"`
	AllowOrigin      []string `help:"Origin of web pages that may connect, besides the same host: https://app.example.com, https://*.example.com, null or *; repeatable." placeholder:"ORIGIN" group:"Security"`
	APIKeyFile       string   `name:"api-key-file" help:"Keys that the API accepts, one per line; also FANFARE_API_KEY. Required on addresses other than loopback." placeholder:"FILE" group:"Security"`

	MaxConnections   int           `help:"Maximum number of connections; 0: what the descriptor limit allows." default:"0" placeholder:"N" group:"Limits"`
	ConnectionsPerIP int           `name:"connections-per-ip" help:"Maximum number of connections from one address; loopback is exempt." default:"1000" group:"Limits"`
	HandshakesPerIP  int           `name:"handshakes-per-ip" help:"Handshakes per second from one address, with a burst of ten times as many." default:"50" group:"Limits"`
	HandshakeRate    int           `help:"Handshakes per second in total, with a burst of ten times as many." default:"20000" group:"Limits"`
	TrustedProxy     []network     `help:"Address or network of a proxy whose X-Forwarded-For is believed; repeatable." placeholder:"ADDRESS" group:"Limits"`
	SessionsPerUser  int           `help:"Maximum number of sessions of one user, on this node." default:"16" group:"Limits"`
	SessionsFull     string        `help:"What happens to a user's session beyond that: reject it with 429, or close-oldest." enum:"reject,close-oldest" default:"reject" group:"Limits"`
	TopicsPerSession int           `help:"Maximum number of topics of one session." default:"100" group:"Limits"`
	PositionsPerUser int           `help:"Maximum number of durable topics, chosen by clients, in which what a user acknowledged is stored." default:"1000" group:"Limits"`
	PositionsPerIP   int           `name:"positions-per-ip" help:"The same for the users of one address; loopback is exempt." default:"10000" group:"Limits"`
	MaxMessage       size          `help:"Maximum size of a message from a client." default:"64KiB" group:"Limits"`
	MaxPayload       size          `help:"Maximum size of a pushed payload." default:"1MiB" group:"Limits"`
	MaxMessageRate   int           `help:"Messages per second from one session, with a burst of ten times as many." default:"100" group:"Limits"`
	MaxByteRate      size          `help:"Bytes per second from one session, with a burst of ten times as many." default:"256KiB" group:"Limits"`
	MaxHeader        size          `help:"Maximum size of a handshake request." default:"8KiB" group:"Limits"`
	HandshakeTimeout time.Duration `help:"Time from accept to the end of the handshake request." default:"10s" group:"Limits"`

	Compression        bool `help:"Offer permessage-deflate (RFC 7692)." group:"Compression"`
	CompressionLevel   int  `help:"1 (fastest) to 9 (smallest); 0 is as fast as 1 and takes less memory." default:"0" group:"Compression"`
	CompressionMin     size `help:"Compress messages of at least this size." default:"256" group:"Compression"`
	CompressionRatio   int  `help:"Maximum inflation ratio of a client's message, applied past 64 KiB." default:"100" group:"Compression"`
	CompressionContext int  `help:"Size of the window that clients may keep between messages, as a power of two from 9 to 15; 0: none. Takes that much memory per session that uses it." default:"0" placeholder:"BITS" group:"Compression"`

	PingInterval time.Duration `help:"Ping a session that sent nothing for this long." default:"25s" group:"Heartbeats"`
	PingTimeout  time.Duration `help:"Close it if it sends nothing for this much longer." default:"10s" group:"Heartbeats"`

	QueueBytes size   `help:"Maximum size of a session's outbound queue." default:"64KiB" group:"Slow consumers"`
	UserFull   string `help:"What a push to a user does when the queue is full: close the session with 1013, or drop-oldest." enum:"close,drop-oldest" default:"close" group:"Slow consumers"`
	TopicFull  string `help:"The same for topics and broadcasts." enum:"close,drop-oldest" default:"drop-oldest" group:"Slow consumers"`

	inboxFlags `embed:"" group:"Durable messages"`

	DrainDelay   time.Duration `help:"After SIGTERM, serve for this long while /readyz answers 503, so that load balancers find out." default:"0s" group:"Draining"`
	DrainRate    int           `help:"Sessions closed per second then." default:"2000" group:"Draining"`
	DrainTimeout time.Duration `help:"Time after which the remaining connections are closed at once." default:"30s" group:"Draining"`
	CloseTimeout time.Duration `help:"Time for a client to answer a close frame." default:"5s" group:"Draining"`

	Transport string `help:"How connections are watched: epoll, easygo, goroutine, or default: epoll on Linux." enum:"default,epoll,easygo,goroutine" default:"default" group:"Engine"`
	Workers   int    `help:"Maximum number of goroutines that serve ready connections, including those blocked in hooks." default:"1024" group:"Engine"`

	LogFormat string `help:"text or json." enum:"text,json" default:"text" group:"Logging"`
	LogLevel  level  `help:"debug, info, warn or error." default:"info" group:"Logging"`

	given given // set by parse
}

func (cmd *serveCmd) Run(k *kong.Kong) error {
	log := cmd.logger()
	slog.SetDefault(log)
	cfg, err := cmd.config(log)
	if err != nil {
		return usage(err)
	}
	warnOfVariables(k.Model, log)
	limits := tuneRuntime()
	// Signals are caught before anything listens, so that none is missed.
	ctx, release := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer release()
	// A second signal has its usual effect, even if the first arrives while the store
	// is being opened: it ends the process at once.
	context.AfterFunc(ctx, release)
	p, err := cmd.assemble(ctx, cfg, log)
	if err != nil {
		return err
	}
	log.Info("serving", "version", buildVersion(), "listen", reachedAt(p.srv.Addr()), "console", cmd.consoleURL(p.srv.Addr()),
		"api", reachedAt(p.api.Addr()), "auth", cmd.Auth, "data_dir", p.dataDir, "transport", cmd.Transport, slog.Group("runtime", limits...))
	<-ctx.Done()
	release() // before the log says that the signal has arrived
	log.Info("draining", "sessions", p.srv.Count(), "delay", cmd.DrainDelay, "timeout", cmd.DrainTimeout)
	bound, cancel := context.WithTimeout(context.Background(), cmd.DrainDelay+cmd.DrainTimeout)
	defer cancel()
	if err := p.shutdown(bound); err != nil {
		log.Warn("drained", "err", err)
		return nil
	}
	log.Info("drained")
	return nil
}

func (cmd *serveCmd) logger() *slog.Logger {
	opts := &slog.HandlerOptions{Level: slog.Level(cmd.LogLevel)}
	if cmd.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, opts))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, opts))
}

// reachedAt is where a listener can be reached.
func reachedAt(addr net.Addr) string {
	if addr.Network() == "unix" {
		return "unix:" + addr.String()
	}
	return "http://" + addr.String() + "/"
}

// consoleURL is where the console is; empty if it is off, or no browser gets there.
func (cmd *serveCmd) consoleURL(addr net.Addr) string {
	if !cmd.Console || addr.Network() == "unix" {
		return ""
	}
	return "http://" + addr.String() + cmd.directory()
}
