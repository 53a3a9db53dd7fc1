package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"sync"
	"time"
)

// tlsFlags say how the public listener speaks TLS.
type tlsFlags struct {
	TLSCert     []string `name:"tls-cert" help:"Serve the public listener with TLS: a file with the certificate and its chain in PEM; repeatable, the client's SNI chooses." placeholder:"FILE" group:"TLS" live:"yes"`
	TLSKey      []string `name:"tls-key" help:"File with the private key in PEM, one for each --tls-cert, in the same order." placeholder:"FILE" group:"TLS" live:"yes"`
	TLSMin      string   `name:"tls-min" help:"Minimum version: 1.2 or 1.3. A connection of TLS 1.2 takes about 7 KiB more memory." enum:"1.2,1.3" default:"1.2" group:"TLS" live:"yes"`
	TLSClientCA string   `name:"tls-client-ca" help:"Require client certificates, signed by an authority in this file in PEM." placeholder:"FILE" group:"TLS" live:"yes"`
}

// certificates returns what the flags name; nil without TLS.
func (f *tlsFlags) certificates() (*certificates, error) {
	switch {
	case len(f.TLSCert) != len(f.TLSKey):
		return nil, fmt.Errorf("want one --tls-key for each --tls-cert: certificates are %d, and keys %d", len(f.TLSCert), len(f.TLSKey))
	case len(f.TLSCert) == 0:
		return nil, nil
	}
	c := &certificates{flags: *f}
	if _, err := c.reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// certificates are the files that the TLS flags name, and the configuration made of them.
type certificates struct {
	flags tlsFlags // immutable

	mu     sync.Mutex
	config *tls.Config // guarded by mu
	loaded [32]byte    // digest of the files that config is made of. guarded by mu

	lastErr string // of look, so that an error is logged once
}

// names returns the files in the order in which contents and build take them.
func (c *certificates) names() []string {
	names := slices.Concat(c.flags.TLSCert, c.flags.TLSKey)
	if c.flags.TLSClientCA != "" {
		names = append(names, c.flags.TLSClientCA)
	}
	return names
}

// contents reads the files, and returns a digest of them.
func (c *certificates) contents() (files [][]byte, digest [32]byte, err error) {
	sum := sha256.New()
	for _, name := range c.names() {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, digest, fmt.Errorf("%s: %w", c.flagOf(name), err)
		}
		fmt.Fprintf(sum, "%d\n", len(text))
		sum.Write(text)
		files = append(files, text)
	}
	return files, [32]byte(sum.Sum(nil)), nil
}

// flagOf returns the flag that names a file.
func (c *certificates) flagOf(name string) string {
	switch {
	case slices.Contains(c.flags.TLSCert, name):
		return "--tls-cert"
	case slices.Contains(c.flags.TLSKey, name):
		return "--tls-key"
	}
	return "--tls-client-ca"
}

// build makes a configuration of the files.
func (c *certificates) build(files [][]byte) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.flags.TLSMin == "1.3" {
		cfg.MinVersion = tls.VersionTLS13
	}
	n := len(c.flags.TLSCert)
	for i := range n {
		cert, err := tls.X509KeyPair(files[i], files[n+i])
		if err != nil {
			return nil, fmt.Errorf("--tls-cert %s with --tls-key %s: %w", c.flags.TLSCert[i], c.flags.TLSKey[i], err)
		}
		cfg.Certificates = append(cfg.Certificates, cert)
	}
	if c.flags.TLSClientCA != "" {
		cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		if !cfg.ClientCAs.AppendCertsFromPEM(files[2*n]) {
			return nil, fmt.Errorf("--tls-client-ca: %s has no certificate in PEM", c.flags.TLSClientCA)
		}
	}
	return cfg, nil
}

// reload reads the files. It reports whether the configuration has changed.
func (c *certificates) reload() (changed bool, err error) {
	files, digest, err := c.contents()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		return false, err
	}
	if digest == c.loaded {
		return false, nil
	}
	cfg, err := c.build(files)
	if err != nil {
		return false, err
	}
	c.config, c.loaded = cfg, digest
	return true, nil
}

// current returns the configuration.
func (c *certificates) current() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.config
}

// certificatesEvery is how often the files are looked at.
const certificatesEvery = 5 * time.Second

// watchCertificates looks at the files until ctx ends.
func (p *program) watchCertificates(ctx context.Context, every <-chan time.Time) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-every:
			p.certsMu.Lock()
			p.certs.look(p.log, p.srv.SetTLS)
			p.certsMu.Unlock()
		}
	}
}

// reloadTLS puts the TLS flags and files of a reload into force. Whether there is TLS at
// all needs a restart.
func (p *program) reloadTLS(next *plan) (func() error, error) {
	certs := next.cmd.certs
	return func() error {
		p.certsMu.Lock()
		defer p.certsMu.Unlock()
		if p.certs == nil || certs == nil || p.certs.same(certs) {
			return nil // SetTLS would make session tickets invalid
		}
		if err := p.srv.SetTLS(certs.current()); err != nil {
			return err
		}
		p.certs = certs
		certs.log(p.log, "TLS certificate reloaded")
		return nil
	}, nil
}

// same reports whether two configurations are made of the same files and flags.
func (c *certificates) same(d *certificates) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.loaded == d.loaded && reflect.DeepEqual(c.flags, d.flags)
}

// look has set called with the new configuration if the files have changed. Files that
// cannot be used, such as a certificate whose key is not there yet, leave the old
// configuration in force.
func (c *certificates) look(log *slog.Logger, set func(*tls.Config) error) {
	err := c.Reload(log, set)
	if err == nil {
		c.lastErr = ""
	} else if text := err.Error(); text != c.lastErr {
		c.lastErr = text
		log.Error("TLS certificates not reloaded, the old ones stay in use", "err", err)
	}
}

// Reload reads the files, and if they have changed has set called with the new
// configuration.
func (c *certificates) Reload(log *slog.Logger, set func(*tls.Config) error) error {
	changed, err := c.reload()
	if err != nil || !changed {
		return err
	}
	if err := set(c.current()); err != nil {
		return err
	}
	c.log(log, "TLS certificate reloaded")
	return nil
}

// log logs each certificate in use, as a warning if clients will reject it.
func (c *certificates) log(log *slog.Logger, msg string) {
	for i, cert := range c.current().Certificates {
		level, event := slog.LevelInfo, msg
		if now := time.Now(); now.After(cert.Leaf.NotAfter) || now.Before(cert.Leaf.NotBefore) {
			level, event = slog.LevelWarn, msg+", but it is not valid today"
		}
		log.Log(context.Background(), level, event, "file", c.flags.TLSCert[i], "names", cert.Leaf.DNSNames, "from", cert.Leaf.NotBefore, "until", cert.Leaf.NotAfter)
	}
}
