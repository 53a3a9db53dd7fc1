package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"fanfare/server"
)

// serveCmd has the flags of the server. Where the name of a field is that of a
// field of server.Config, it means the same.
type serveCmd struct {
	Config configFile `help:"Read flags from this JSON file: {\"listen\": \"127.0.0.1:8088\", …}." placeholder:"FILE"`

	Listen string `help:"Public listener, HOST:PORT or unix:PATH." default:"127.0.0.1:8080" group:"Listeners"`
	API    string `name:"api" help:"API listener, HOST:PORT or unix:PATH." default:"127.0.0.1:8081" group:"Listeners"`
	Pprof  bool   `help:"Serve /debug/pprof on the API listener." group:"Listeners"`

	authFlags        `embed:""`
	InsecureIdentity bool     `help:"Allow --auth none beyond loopback." group:"Security"`
	AllowOrigin      []string `help:"Origin of pages that may connect, beside the same host: https://app.example.com, https://*.example.com or *. Repeatable." placeholder:"ORIGIN" group:"Security"`
	APIKeyFile       string   `name:"api-key-file" help:"Keys that the API accepts, one a line. Also FANFARE_API_KEY. Needed beyond loopback." placeholder:"FILE" group:"Security"`

	MaxConnections   int           `help:"Connections at a time; 0: what the descriptor limit allows." default:"0" placeholder:"N" group:"Limits"`
	ConnectionsPerIP int           `name:"connections-per-ip" help:"Connections from one address; loopback is exempt." default:"1000" group:"Limits"`
	HandshakesPerIP  int           `name:"handshakes-per-ip" help:"Handshakes a second from one address; ten times as many at once." default:"50" group:"Limits"`
	HandshakeRate    int           `help:"Handshakes a second from everybody; ten times as many at once." default:"20000" group:"Limits"`
	TrustedProxy     []network     `help:"Load balancer whose X-Forwarded-For is believed: an address, or a network like 10.0.0.0/8. Repeatable." placeholder:"ADDRESS" group:"Limits"`
	SessionsPerUser  int           `help:"Connections of one user." default:"16" group:"Limits"`
	TopicsPerSession int           `help:"Topics that one connection follows." default:"100" group:"Limits"`
	MaxMessage       size          `help:"Longest message from a client." default:"64KiB" group:"Limits"`
	MaxPayload       size          `help:"Longest message that is pushed." default:"1MiB" group:"Limits"`
	MaxMessageRate   int           `help:"Messages a second that one client may send; ten times as many at once." default:"100" group:"Limits"`
	MaxByteRate      size          `help:"Bytes a second that one client may send; ten times as many at once." default:"256KiB" group:"Limits"`
	MaxHeader        size          `help:"Longest request of a handshake." default:"8KiB" group:"Limits"`
	HandshakeTimeout time.Duration `help:"From accept to the end of the request." default:"10s" group:"Limits"`

	Compression        bool `help:"Offer permessage-deflate (RFC 7692)." group:"Compression"`
	CompressionLevel   int  `help:"1, fastest, to 9, smallest; 0: as fast as 1 and with less memory." default:"0" group:"Compression"`
	CompressionMin     size `help:"Messages from this on are compressed." default:"256" group:"Compression"`
	CompressionRatio   int  `help:"How many bytes one from a client may become, beyond 64 KiB." default:"100" group:"Compression"`
	CompressionContext int  `help:"Window that clients may keep from message to message, as a power of two from 9 to 15; 0: none. Costs that memory on each connection." default:"0" placeholder:"BITS" group:"Compression"`

	PingInterval time.Duration `help:"Ping a connection that was silent for so long." default:"25s" group:"Heartbeats"`
	PingTimeout  time.Duration `help:"Close it when it stays silent for so much longer." default:"10s" group:"Heartbeats"`

	QueueBytes size   `help:"Outbound queue of one connection." default:"64KiB" group:"Slow consumers"`
	UserFull   string `help:"When it is full, at a message for one user: close (1013) or drop-oldest." enum:"close,drop-oldest" default:"close" group:"Slow consumers"`
	TopicFull  string `help:"The same for topics and broadcasts." enum:"close,drop-oldest" default:"drop-oldest" group:"Slow consumers"`

	inboxFlags `embed:"" group:"Unread messages"`

	DrainRate    int           `help:"Connections closed a second after SIGTERM." default:"2000" group:"Draining"`
	DrainTimeout time.Duration `help:"What is left then is cut off." default:"30s" group:"Draining"`
	CloseTimeout time.Duration `help:"For a client to answer a close frame." default:"5s" group:"Draining"`

	Transport string `help:"epoll, easygo, goroutine, or default: epoll on Linux." enum:"default,epoll,easygo,goroutine" default:"default" group:"Engine"`
	Workers   int    `help:"Most goroutines that serve ready connections, those blocked in hooks included." default:"1024" group:"Engine"`

	LogFormat string `help:"text or json." enum:"text,json" default:"text" group:"Logging"`
	LogLevel  level  `help:"debug, info, warn or error." default:"info" group:"Logging"`
}

func (cmd *serveCmd) Run() error {
	log := cmd.logger()
	slog.SetDefault(log)
	cfg, err := cmd.config(log)
	if err != nil {
		return usage(err)
	}
	limits := tuneRuntime(os.DirFS("/"))
	// Signals are caught before anything listens, so that none is missed.
	ctx, release := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer release()
	// A second one has its usual effect, also when the first came while the store is
	// opened: it ends the process at once.
	context.AfterFunc(ctx, release)
	p, err := cmd.assemble(ctx, cfg, log)
	if err != nil {
		return err
	}
	log.Info("serving", "version", buildVersion(), "console", url(p.srv.Addr()), "api", url(p.apiAddr()),
		"auth", cmd.Auth, "transport", cmd.Transport, slog.Group("runtime", limits...))
	<-ctx.Done()
	release() // before anybody is told
	log.Info("draining", "sessions", p.srv.Count(), "timeout", cmd.DrainTimeout)
	bound, cancel := context.WithTimeout(context.Background(), cmd.DrainTimeout)
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

// url is where a listener can be reached.
func url(addr net.Addr) string {
	switch {
	case addr == nil:
		return ""
	case addr.Network() == "unix":
		return "unix:" + addr.String()
	}
	return "http://" + addr.String() + "/"
}
