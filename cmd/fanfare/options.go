package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"reflect"
	"regexp"
	"strings"
	"syscall"
	"time"

	"fanfare/server"
)

// config turns the flags into what the server takes.
func (cmd *serveCmd) config(log *slog.Logger) (server.Config, error) {
	if err := cmd.checkZeros(); err != nil {
		return server.Config{}, err
	}
	if err := errors.Join(checkAddress("--listen", cmd.Listen), checkAddress("--api", cmd.API)); err != nil {
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
	endpoints, err := cmd.endpoints()
	if err != nil {
		return server.Config{}, err
	}
	return server.Config{
		Listen:           cmd.Listen,
		Endpoints:        endpoints,
		InsecureIdentity: cmd.InsecureIdentity,
		AllowOrigins:     cmd.AllowOrigin,
		Transport:        transport,
		Workers:          cmd.Workers,
		QueueBytes:       int(cmd.QueueBytes),
		MaxConnections:   cmd.MaxConnections,
		ConnectionsPerIP: cmd.ConnectionsPerIP,
		HandshakesPerIP:  cmd.HandshakesPerIP,
		HandshakeRate:    cmd.HandshakeRate,
		TrustedProxies:   prefixes(cmd.TrustedProxy),
		SessionsPerUser:  cmd.SessionsPerUser,
		TopicsPerSession: cmd.TopicsPerSession,
		MaxPayload:       int(cmd.MaxPayload),
		HandshakeTimeout: cmd.HandshakeTimeout,
		MaxHeader:        int(cmd.MaxHeader),
		PingInterval:     cmd.PingInterval,
		PingTimeout:      cmd.PingTimeout,
		CloseTimeout:     cmd.CloseTimeout,
		UserFull:         userFull,
		TopicFull:        topicFull,
		DrainRate:        cmd.DrainRate,
		DurableTopics:    cmd.DurableTopic,
		Logger:           log,
	}, nil
}

// endpoints are /ws for push sessions and /echo for measuring.
func (cmd *serveCmd) endpoints() ([]server.Endpoint, error) {
	push, err := cmd.endpoint()
	if err != nil {
		return nil, err
	}
	echo := server.Echo("/echo")
	push.Rate = server.Rate{Messages: cmd.MaxMessageRate, Bytes: int(cmd.MaxByteRate)}
	echo.Rate.Messages, echo.Rate.Bytes = push.Rate.Messages, push.Rate.Bytes // beyond loopback
	push.Compress, echo.Compress = cmd.Compression, cmd.Compression
	push.Rules.MaxMessage = int(cmd.MaxMessage)
	deflate := &push.Rules.Deflate
	deflate.Level, deflate.MinSize = cmd.CompressionLevel, int(cmd.CompressionMin)
	deflate.MaxRatio, deflate.ContextBits = cmd.CompressionRatio, cmd.CompressionContext
	echo.Rules = push.Rules
	return []server.Endpoint{push, echo}, nil
}

// checkZeros refuses a zero that the user has written. In server.Config it means
// the default, and whoever writes it here hopes that it means "off".
func (cmd *serveCmd) checkZeros() error {
	cmdValue := reflect.ValueOf(cmd).Elem()
	for _, f := range reflect.VisibleFields(cmdValue.Type()) {
		switch f.Type {
		case reflect.TypeFor[int](), reflect.TypeFor[size](), reflect.TypeFor[time.Duration]():
			if v := cmdValue.FieldByIndex(f.Index); v.Int() <= 0 && f.Tag.Get("default") != "0" {
				return fmt.Errorf("--%s is %v: it cannot be switched off", flagName(f), v)
			}
		}
	}
	return nil
}

// checkAddress refuses what nothing can listen on, before anybody asks whether it is
// loopback.
func checkAddress(flag, addr string) error {
	if strings.HasPrefix(addr, "unix:") {
		return nil
	}
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return fmt.Errorf("%s is %q: want HOST:PORT, with a port up to 65535, or unix:PATH", flag, addr)
	}
	return nil
}

var upper = regexp.MustCompile(`[A-Z]`)

// flagName of a field, as kong makes it.
func flagName(f reflect.StructField) string {
	if name := f.Tag.Get("name"); name != "" {
		return name
	}
	return strings.TrimPrefix(strings.ToLower(upper.ReplaceAllString(f.Name, "-$0")), "-")
}

// inFlags says what is wrong with a server.Config in words of the command line:
// "PingInterval is …" becomes "--ping-interval is …".
func inFlags(err error) error {
	msg := strings.NewReplacer("netpoll: ", "", "frame: ", "",
		"Deflate.Level is", "CompressionLevel is", "Deflate.MinSize is", "CompressionMin is",
		"Deflate.MaxRatio is", "CompressionRatio is", "Deflate.ContextBits is", "CompressionContext is",
	).Replace(err.Error())
	msg = strings.TrimPrefix(strings.TrimPrefix(msg, "server: "), "inbox: ")
	for _, f := range reflect.VisibleFields(reflect.TypeFor[serveCmd]()) {
		msg = regexp.MustCompile(`\b`+strings.TrimPrefix(f.Name, "Inbox")+` is `).ReplaceAllString(msg, "--"+flagName(f)+" is ")
	}
	return errors.New(msg)
}

// startError is the one line that says why nothing listens.
func startError(err error) error {
	var op *net.OpError
	var errno syscall.Errno
	if errors.As(err, &op) && op.Op == "listen" && op.Addr != nil && errors.As(op, &errno) {
		return fmt.Errorf("cannot listen on %s: %w; --listen and --api choose where", op.Addr, errno)
	}
	return errors.New(strings.TrimPrefix(strings.TrimPrefix(err.Error(), "server: "), "inbox: "))
}

// apiKeyEnv holds one more key, for programs that are given secrets so.
const apiKeyEnv = "FANFARE_API_KEY"

// apiKeys reads the keys of the API: one a line, # begins a comment. Several let
// a new key be introduced before the old one goes.
func apiKeys(file string) (keys []string, err error) {
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("--api-key-file: %w", err)
		}
		for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
			if line := strings.TrimSpace(lines.Text()); line != "" && line[0] != '#' {
				keys = append(keys, line)
			}
		}
		if len(keys) == 0 {
			return nil, fmt.Errorf("--api-key-file: %s has no key", file)
		}
	}
	if key := os.Getenv(apiKeyEnv); key != "" {
		keys = append(keys, key)
	}
	return keys, nil
}
