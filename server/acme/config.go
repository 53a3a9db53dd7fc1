package acme

import (
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"fanfare/server/internal/field"
	"fanfare/server/internal/natsconn"
)

// Config configures a Manager. Domains, Agreed, and either Dir or NATS are required.
type Config struct {
	// Domains are the names that certificates are obtained for, one for each.
	Domains []string
	// Agreed states that the operator agrees to the terms of the authority.
	Agreed bool
	// Email is sent to the authority, which may send notices to it.
	Email string
	// CA is the URL of the authority's directory. Empty: that of Let's Encrypt.
	CA string
	// Roots verify the certificate of the authority's own server. nil: those of the system.
	Roots *x509.CertPool
	// HTTP is the address of a listener for HTTP-01, which the authority reaches at port 80.
	// Other requests are redirected to https. Empty: none.
	HTTP string
	// Dir is where a single node stores keys and certificates.
	Dir string
	// NATS stores them for several nodes, in place of Dir.
	NATS *NATS
	// Logger; nil: slog.Default().
	Logger *slog.Logger

	// Tests renew early: when this part of a certificate's life is left, which is looked at
	// so often. Zero: certmagic's defaults, and what the authority suggests.
	renewalRatio float64
	renewalCheck time.Duration
}

// NATS is an outside NATS cluster with JetStream.
type NATS struct {
	// URL, Credentials, CA, Cert and Key are those of cluster.Config.
	URL, Credentials, CA, Cert, Key string
	// Replicas of each key and certificate. 0: 1.
	Replicas int
}

// Validate returns the error with which New would reject cfg. An error in a field has a
// method Field() string, for errors.As, that names it.
func (cfg Config) Validate() error { return cfg.validate() }

func (cfg *Config) validate() error {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	var errs []error
	if len(cfg.Domains) == 0 {
		errs = append(errs, field.Errorf("Domains", "is empty: want a domain"))
	}
	for _, d := range cfg.Domains {
		if err := validateDomain(d); err != nil {
			errs = append(errs, err)
		}
	}
	if !cfg.Agreed {
		errs = append(errs, field.Errorf("Agreed", "is false: read the terms of the authority, and set it if you agree"))
	}
	if u, err := url.Parse(cfg.CA); cfg.CA != "" && (err != nil || u.Scheme != "https" || u.Host == "") {
		errs = append(errs, field.Errorf("CA", "is %q: want the https:// URL of a directory", cfg.CA))
	}
	if cfg.HTTP != "" {
		if _, _, err := net.SplitHostPort(cfg.HTTP); err != nil {
			errs = append(errs, field.Errorf("HTTP", "is %q: want HOST:PORT", cfg.HTTP))
		}
	}
	switch {
	case (cfg.Dir == "") == (cfg.NATS == nil):
		errs = append(errs, field.Errorf("Dir", "and NATS are alternatives: want one place to store keys and certificates"))
	case cfg.NATS != nil:
		if err := natsconn.Validate(cfg.NATS.connection(nil)); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return field.Wrapf("acme: %w", errors.Join(errs...))
	}
	return nil
}

// validateDomain rejects names that no authority certifies by the challenges of this package.
func validateDomain(d string) error {
	switch {
	case strings.Contains(d, "*"):
		return field.Errorf("Domains", "has the wildcard %q, which needs DNS-01: name each domain", d)
	case net.ParseIP(d) != nil:
		return field.Errorf("Domains", "has the address %q: want a domain", d)
	}
	if ascii, err := idna.Lookup.ToASCII(d); err != nil || ascii != d || strings.HasSuffix(d, ".") {
		return field.Errorf("Domains", "has %q: want a domain in lower case and ASCII (punycode), such as app.example.com", d)
	}
	return nil
}

func (n *NATS) connection(log *slog.Logger) natsconn.Config {
	return natsconn.Config{
		URL: n.URL, Credentials: n.Credentials, CA: n.CA, Cert: n.Cert, Key: n.Key,
		Name: "fanfare acme", Role: "acme", Logger: log,
	}
}
