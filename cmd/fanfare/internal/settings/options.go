package settings

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path"
	"reflect"
	"strings"
	"time"

	"fanfare/server"
	"fanfare/server/listen"
	"fanfare/server/sse"
)

// config turns the flags into the configuration of the server, and sets its other parts in p.
func (cmd *Serve) config(p *Plan, log *slog.Logger) (server.Config, error) {
	if err := errors.Join(cmd.checkZeros(), cmd.checkEffect(), cmd.checkListeners(), cmd.checkPath()); err != nil {
		return server.Config{}, err
	}
	transport, err := server.ParseTransport(cmd.Transport)
	if err != nil {
		return server.Config{}, err
	}
	userFull, err := server.ParseWhenFull(cmd.UserFull)
	if err != nil {
		return server.Config{}, err
	}
	topicFull, err := server.ParseWhenFull(cmd.TopicFull)
	if err != nil {
		return server.Config{}, err
	}
	sessionsFull, err := server.ParseSessionsFull(cmd.SessionsFull)
	if err != nil {
		return server.Config{}, err
	}
	endpoints, err := cmd.endpoints(p, log)
	if err != nil {
		return server.Config{}, err
	}
	if p.Certificates, err = cmd.tlsFlags.open(time.Now()); err != nil {
		return server.Config{}, err
	}
	var tlsConfig *server.TLS
	if c := p.Certificates.Public(); c != nil {
		tlsConfig = server.NewTLS(c.Obtained(nil, c.Config()))
	}
	return server.Config{
		Listen:           cmd.Listen,
		TLS:              tlsConfig,
		Endpoints:        endpoints,
		InsecureIdentity: cmd.InsecureIdentity,
		Identifiers:      cmd.identifiers(),
		IdentifierQueue:  cmd.ConnectHookQueue,
		Responders:       cmd.MessageConcurrency,
		ResponderQueue:   cmd.MessageQueue,
		AllowOrigins:     cmd.AllowOrigin,
		Transport:        transport,
		Workers:          cmd.Workers,
		QueueBytes:       cmd.QueueBytes.int(),
		MaxConnections:   cmd.MaxConnections,
		ConnectionsPerIP: cmd.ConnectionsPerIP,
		HandshakesPerIP:  cmd.HandshakesPerIP,
		HandshakeRate:    cmd.HandshakeRate,
		TrustedProxies:   prefixes(cmd.TrustedProxy),
		ProxyProtocol:    prefixes(cmd.ProxyProtocol),
		Forwarded:        cmd.Forwarded,
		SessionsPerUser:  cmd.SessionsPerUser,
		SessionsFull:     sessionsFull,
		TopicsPerSession: cmd.TopicsPerSession,
		PositionsPerUser: cmd.PositionsPerUser,
		PositionsPerIP:   cmd.PositionsPerIP,
		MaxPayload:       cmd.MaxPayload.int(),
		HandshakeTimeout: cmd.HandshakeTimeout,
		MaxHeader:        cmd.MaxHeader.int(),
		PingInterval:     cmd.PingInterval,
		PingTimeout:      cmd.PingTimeout,
		CloseTimeout:     cmd.CloseTimeout,
		UserFull:         userFull,
		TopicFull:        topicFull,
		DrainDelay:       cmd.DrainDelay,
		DrainRate:        cmd.DrainRate,
		DrainSpread:      cmd.DrainSpread,
		DurableTopics:    cmd.DurableTopic,
		PresenceTopics:   cmd.PresenceTopic,
		PresenceGrace:    cmd.OfflineGrace,
		Announce:         server.AnnounceMembers,
		FieldName:        fieldNames("server"),
		Logger:           log,
	}, nil
}

// endpoints returns the endpoints of the public listener. All have the same limits.
func (cmd *Serve) endpoints(p *Plan, log *slog.Logger) ([]server.Endpoint, error) {
	push, err := cmd.endpoint(p, log)
	if err != nil {
		return nil, err
	}
	if err := cmd.messages(p, &push, log); err != nil {
		return nil, err
	}
	push.Dialects = []server.Dialect{cmd.plain(), server.V1()}
	push.Rate = cmd.Rate()
	push.Compress = cmd.Compression
	push.Rules.MaxMessage = cmd.MaxMessage.int()
	push.AllowQuery = cmd.AllowQuery
	push.ReportMessages = len(cmd.Webhook) > 0
	deflate := &push.Rules.Deflate
	deflate.Level, deflate.MinSize = cmd.CompressionLevel, cmd.CompressionMin.int()
	deflate.MaxRatio, deflate.ContextBits = cmd.CompressionRatio, cmd.CompressionContext
	stream := push
	if err := cmd.useTickets(p, &push); err != nil {
		return nil, err
	}
	all := []server.Endpoint{push}
	if cmd.SSE {
		stream.Path, stream.Dialects = cmd.ssePath(), sse.PushEndpoint("").Dialects
		all = append(all, stream)
	}
	if !cmd.servesEcho() {
		return all, nil
	}
	echo := server.EchoEndpoint(cmd.echoPath())
	echo.Rate = push.Rate // the endpoint needs no token
	echo.Rate.UnlimitedOnLoopback = cmd.Development()
	echo.Compress, echo.Rules, echo.AllowQuery = push.Compress, push.Rules, push.AllowQuery
	return append(all, echo), nil
}

// identifiers is the number of handshakes that are identified at a time: the requests to the
// connect hook, or the default for handshakes that wait for a key set.
func (cmd *Serve) identifiers() int {
	if cmd.Auth == "hook" {
		return cmd.ConnectHookConcurrency
	}
	return 0
}

// Development reports whether the clients are programs on this machine that name their
// user themselves.
func (cmd *Serve) Development() bool {
	return cmd.Auth == "none" && listen.IsLoopback(cmd.Listen) && len(cmd.TrustedProxy)+len(cmd.ProxyProtocol) == 0
}

// servesEcho reports whether there is an echo endpoint: --echo decides, where it is given.
func (cmd *Serve) servesEcho() bool {
	if on, ok := cmd.given["echo"]; ok {
		return on
	}
	return cmd.Development()
}

func (cmd *Serve) ssePath() string { return path.Join(cmd.Directory(), "sse") }

func (cmd *Serve) echoPath() string { return path.Join(cmd.Directory(), "echo") }

// checkPath rejects paths that no client can reach: browsers resolve "..", and
// percent-encode other characters than ASCII.
func (cmd *Serve) checkPath() error {
	u, err := url.ParseRequestURI(cmd.Path)
	clean := path.Clean(cmd.Path)
	switch {
	case !strings.HasPrefix(cmd.Path, "/") || strings.ContainsAny(cmd.Path, "?#"):
		return fmt.Errorf("--path is %q: want a path that begins with / and has no query", cmd.Path)
	case strings.TrimSuffix(cmd.Path, "/") != strings.TrimSuffix(clean, "/"):
		return fmt.Errorf("--path is %q: want it without //, . and .., which is %q", cmd.Path, clean)
	case err != nil || u.EscapedPath() != cmd.Path:
		return fmt.Errorf("--path is %q: want it percent-encoded, as a client sends it", cmd.Path)
	case cmd.SSE && cmd.Path == cmd.ssePath():
		return fmt.Errorf("--path is %s, where server-sent events are: want another path, or --no-sse", cmd.Path)
	case cmd.servesEcho() && cmd.Path == cmd.echoPath():
		return fmt.Errorf("--path is %s, where the echo endpoint is: want another path, or --echo=false", cmd.Path)
	}
	return nil
}

// Directory is where the endpoints and the console are, with a slash at the end.
func (cmd *Serve) Directory() string {
	dir, _ := path.Split(cmd.Path)
	return dir
}

// checkListeners rejects invalid addresses, and addresses that need authentication.
func (cmd *Serve) checkListeners() error {
	for _, l := range []struct{ flag, addr string }{{"listen", cmd.Listen}, {"api", cmd.API}} {
		if err := listen.Validate(l.addr); err != nil {
			return fmt.Errorf("--%s: %w", l.flag, err)
		}
	}
	if cmd.Listen == cmd.API && !strings.HasSuffix(cmd.Listen, ":0") {
		return fmt.Errorf("--listen and --api are both %s: want an address for each", cmd.Listen)
	}
	if cmd.Auth == "none" && !cmd.InsecureIdentity && !listen.IsLoopback(cmd.Listen) {
		return fmt.Errorf("--listen is %s, which is not loopback, and with --auth none clients choose their user themselves: "+
			"use --auth jwt or hook, listen on 127.0.0.1, or give --insecure-identity", cmd.Listen)
	}
	return nil
}

// checkZeros rejects a zero that the user has written. In server.Config zero means the
// default; a user who writes it here expects "off".
func (cmd *Serve) checkZeros() error {
	cmdValue := reflect.ValueOf(cmd).Elem()
	for _, f := range flagFields {
		switch f.Type {
		case reflect.TypeFor[int](), reflect.TypeFor[size](), reflect.TypeFor[time.Duration]():
			def := f.Tag.Get("default")
			if v := cmdValue.FieldByIndex(f.Index); v.Int() <= 0 && def != "0" && def != "0s" && f.Name != "JWTLeeway" && (f.Name != "OfflineGrace" || v.Int() < 0) {
				if v.Int() < 0 {
					return fmt.Errorf("--%s is %v: want more than 0", flagName(f), v)
				}
				return fmt.Errorf("--%s is %v: it cannot be switched off", flagName(f), v)
			}
		}
	}
	return nil
}

// Rate is the rate of the endpoints.
func (cmd *Serve) Rate() server.Rate {
	return server.Rate{Messages: cmd.MaxMessageRate, Bytes: cmd.MaxByteRate.int()}
}
