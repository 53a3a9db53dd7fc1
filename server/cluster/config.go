package cluster

import (
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"strings"
	"time"

	"fanfare/server/internal/field"
	"fanfare/server/internal/natsconn"
)

// Config configures a Cluster. Only URL is required.
type Config struct {
	// URL is a comma-separated list of servers of one NATS cluster, such as
	// "nats://a:4222,nats://b:4222".
	URL string
	// Credentials is a NATS credentials file: a user's JWT and seed.
	Credentials string
	// CA, Cert and Key are PEM files for TLS with NATS: CA alone verifies the
	// server, Cert and Key authenticate this client.
	CA, Cert, Key string

	// Name of this node, for logs, metrics and SessionInfo.Node: letters, digits
	// and "._:-", at most 64. Names should differ: two live nodes of one name are
	// logged and counted. Empty: the host name and six characters that are new with
	// each start.
	Name string
	// Timeout is how long Ask waits for a sign of life of each node that it asks,
	// and Sync for each node that has to confirm. 0: 500 ms.
	Timeout time.Duration
	// Logger; nil: slog.Default().
	Logger *slog.Logger
}

// Validate returns the error with which New would reject cfg. An error in a field has a
// method Field() string, for errors.As, that names it.
func (cfg Config) Validate() error { return cfg.validate(nodeID{}) }

func (cfg *Config) validate(id nodeID) error {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 500 * time.Millisecond
	}
	if cfg.Name == "" {
		cfg.Name = defaultName(id)
	}
	var errs []error
	if err := natsconn.Validate(cfg.connection(nil)); err != nil {
		errs = append(errs, err)
	}
	if !validName(cfg.Name) {
		errs = append(errs, field.Errorf("Name", "is %q: want 1 to %d letters, digits, or characters of \"._:-\"", cfg.Name, maxNodeName))
	}
	if cfg.Timeout < 10*time.Millisecond || cfg.Timeout > time.Minute {
		errs = append(errs, field.Errorf("Timeout", "is %v: want 10ms to 1m", cfg.Timeout))
	}
	if len(errs) > 0 {
		return field.Wrapf("cluster: %w", errors.Join(errs...))
	}
	return nil
}

func (cfg *Config) connection(log *slog.Logger) natsconn.Config {
	return natsconn.Config{
		URL: cfg.URL, Credentials: cfg.Credentials, CA: cfg.CA, Cert: cfg.Cert, Key: cfg.Key,
		Name: "fanfare cluster " + cfg.Name, Role: role, Logger: log,
	}
}

// role is the attribute "connection" of log lines about the connection to NATS.
const role = "cluster"

const maxNodeName = 64

func isNameByte(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("._:-", r)
}

func validName(s string) bool {
	return s != "" && len(s) <= maxNodeName && strings.IndexFunc(s, func(r rune) bool { return !isNameByte(r) }) < 0
}

func defaultName(id nodeID) string {
	host, _ := os.Hostname()
	host = strings.Map(func(r rune) rune {
		if !isNameByte(r) {
			return -1
		}
		return r
	}, host)
	if host == "" {
		host = "node"
	}
	return host[:min(len(host), maxNodeName-7)] + "-" + hex.EncodeToString(id[:3])
}
