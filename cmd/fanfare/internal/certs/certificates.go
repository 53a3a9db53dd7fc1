package certs

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"fanfare/server/acme"
)

// Certificates are Files, and the configuration made of them.
type Certificates struct {
	files Files // immutable

	mu      sync.Mutex
	config  *tls.Config       // guarded by mu
	loaded  [sha256.Size]byte // digest of the files that config is made of. guarded by mu
	expires time.Time         // when the first staple does; zero: none does. guarded by mu

	lastErr string // of Look, so that an error is logged once
}

// Open reads the files. It returns nil if f names no certificate.
func Open(f Files, now time.Time) (*Certificates, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	if len(f.Cert) == 0 && !f.Managed {
		return nil, nil
	}
	c := &Certificates{files: f}
	if _, err := c.read(now); err != nil {
		return nil, err
	}
	return c, nil
}

// read reads the files, and reports whether they have changed. After an error the
// configuration stays.
func (c *Certificates) read(now time.Time) (changed bool, err error) {
	text, err := c.files.read()
	if err != nil {
		return false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if text.digest == c.loaded {
		return false, nil
	}
	cfg, err := c.files.config(text, now)
	if err != nil {
		return false, err
	}
	c.setLocked(cfg)
	c.loaded = text.digest
	return true, nil
}

func (c *Certificates) setLocked(cfg *tls.Config) {
	c.config, c.expires = cfg, time.Time{}
	for i := range cfg.Certificates {
		if ends := stapleEnds(&cfg.Certificates[i]); !ends.IsZero() && (c.expires.IsZero() || ends.Before(c.expires)) {
			c.expires = ends
		}
	}
}

// Config returns the configuration. It must not be modified.
func (c *Certificates) Config() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.config
}

// Managed is Files.Managed.
func (c *Certificates) Managed() bool { return c.files.Managed }

// Obtained returns cfg with the certificates that m obtains, if c is managed. Without m, it is
// good for a validation only.
func (c *Certificates) Obtained(m *acme.Manager, cfg *tls.Config) *tls.Config {
	switch {
	case !c.Managed():
		return cfg
	case m == nil:
		cfg = cfg.Clone()
		cfg.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("no certificate yet") }
		return cfg
	}
	return m.TLS(cfg)
}

// Same reports whether two configurations are made of the same files and flags.
func (c *Certificates) Same(d *Certificates) bool {
	if c == d {
		return true
	}
	c.mu.Lock()
	loaded := c.loaded
	c.mu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	return loaded == d.loaded && reflect.DeepEqual(c.files, d.files)
}

// Look calls set with the new configuration if the files have changed. Files that cannot
// be used, such as a certificate whose key is not there yet, leave the old configuration in
// force. A staple that expires is not sent any more.
func (c *Certificates) Look(log *slog.Logger, now time.Time, set func(*tls.Config) error) {
	changed, err := c.read(now)
	if err == nil && changed {
		if err = set(c.Config()); err == nil {
			c.Log(log, now, "TLS certificate reloaded")
		}
	}
	if err == nil {
		c.lastErr = ""
	} else if text := err.Error(); text != c.lastErr {
		c.lastErr = text
		log.Error("TLS certificates not reloaded, the old ones stay in use", "err", err)
	}
	if c.dropExpired(now) {
		if err := set(c.Config()); err != nil {
			log.Error("OCSP response still in use", "err", err)
		}
		log.Warn("OCSP response expired, its certificate is served without", "files", c.files.OCSP)
	}
}

// dropExpired takes staples that have expired out of the configuration.
func (c *Certificates) dropExpired(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.expires.IsZero() || now.Before(c.expires) {
		return false
	}
	cfg := c.config.Clone()
	cfg.Certificates = slices.Clone(cfg.Certificates)
	for i := range cfg.Certificates {
		if ends := stapleEnds(&cfg.Certificates[i]); !ends.IsZero() && !now.Before(ends) {
			cfg.Certificates[i].OCSPStaple = nil
		}
	}
	c.setLocked(cfg)
	return true
}

// Log logs each certificate in use, as a warning if clients will reject it.
func (c *Certificates) Log(log *slog.Logger, now time.Time, msg string) {
	for i, cert := range c.Config().Certificates {
		level, event := slog.LevelInfo, msg
		if now.After(cert.Leaf.NotAfter) || now.Before(cert.Leaf.NotBefore) {
			level, event = slog.LevelWarn, msg+", but it is not valid today"
		}
		attrs := []any{"listener", c.files.Listener, "file", c.files.Cert[i], "names", cert.Leaf.DNSNames, "from", cert.Leaf.NotBefore, "until", cert.Leaf.NotAfter}
		if ends := stapleEnds(&cert); !ends.IsZero() {
			attrs = append(attrs, "ocsp_until", ends)
		}
		log.Log(context.Background(), level, event, attrs...)
	}
}
