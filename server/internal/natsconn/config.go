package natsconn

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"fanfare/server/internal/field"
)

// Config says where NATS is and how to authenticate. Only URL is required.
type Config struct {
	// URL is a comma-separated list of servers of one cluster, such as
	// "nats://user:password@a:4222,nats://b". The scheme (nats, tls, ws or wss) and
	// the port may be left out. A user without a password is a token.
	URL string
	// Credentials is a file with a user's JWT and seed. It is read again for each
	// connection.
	Credentials string
	// CA is a PEM file of the authorities that sign the certificates of servers.
	// Cert and Key are PEM files that authenticate this client.
	CA, Cert, Key string
	// Name of the connection in the monitoring of NATS.
	Name string
	// Role is what this process uses the connection for: "store" or "cluster". Each
	// log line has it as the attribute "connection".
	Role string
	// Traffic, if not nil, counts the bytes that the kernel accepted and delivered.
	Traffic *Traffic
	// Logger; nil: slog.Default().
	Logger *slog.Logger
}

// Traffic counts the bytes of a connection, across reconnects.
type Traffic struct{ Written, Read atomic.Int64 }

// Validate reports what is wrong with a Config, in terms of its fields, without
// using the network or reading files.
func Validate(cfg Config) error {
	_, err := parseURLs(cfg.URL)
	if (cfg.Cert == "") != (cfg.Key == "") {
		err = errors.Join(err, field.Errorf("Cert", "and Key belong together: want both, or neither"))
	}
	return err
}

// files returns the options that come from files, and an error if one cannot be
// read: NATS's client would take that for an outage and retry.
func (cfg *Config) files() (opts []nats.Option, err error) {
	if cfg.Credentials != "" {
		if err := checkCredentials(cfg.Credentials); err != nil {
			return nil, field.Errorf("Credentials", "cannot be used: %w", err)
		}
		opts = append(opts, nats.UserCredentials(cfg.Credentials))
	}
	if cfg.CA != "" {
		opts = append(opts, nats.RootCAs(cfg.CA))
	}
	if cfg.Cert != "" {
		opts = append(opts, nats.ClientCert(cfg.Cert, cfg.Key))
	}
	return opts, nil
}

func checkCredentials(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	defer clear(b)
	key, err := nkeys.ParseDecoratedUserNKey(b)
	if err != nil || !bytes.Contains(b, []byte("NATS USER JWT")) {
		return fmt.Errorf("%s is not a credentials file: want the JWT and the seed of a user", file)
	}
	key.Wipe()
	return nil
}
