package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"fanfare/cmd/fanfare/internal/certs"
	"fanfare/server/acme"
)

// tlsFlags say how the public listener speaks TLS.
type tlsFlags struct {
	TLSCert     []string `name:"tls-cert" help:"Serve the public listener with TLS: a file with the certificate and its chain in PEM; repeatable, the client's SNI chooses." placeholder:"FILE" group:"TLS" live:"yes"`
	TLSKey      []string `name:"tls-key" help:"File with the private key in PEM, one for each --tls-cert, in the same order." placeholder:"FILE" group:"TLS" live:"yes"`
	TLSOCSP     []string `name:"tls-ocsp" help:"File with an OCSP response in DER that is stapled to the certificate, one for each --tls-cert; - for a certificate without." placeholder:"FILE" group:"TLS" live:"yes"`
	TLSMin      string   `name:"tls-min" help:"Minimum version: 1.2 or 1.3. A connection of TLS 1.2 takes about 7 KiB more memory." enum:"1.2,1.3" default:"1.2" group:"TLS" live:"yes"`
	TLSClientCA string   `name:"tls-client-ca" help:"Require client certificates, signed by an authority in this file in PEM." placeholder:"FILE" group:"TLS" live:"yes"`

	acmeFlags `embed:""`

	APITLSShared   bool     `name:"api-tls-shared" help:"Serve the API listener with TLS, too, with the certificates of the public listener." group:"TLS"`
	APITLSCert     []string `name:"api-tls-cert" help:"Serve the API listener with TLS, with a certificate of its own; as --tls-cert." placeholder:"FILE" group:"TLS" live:"yes"`
	APITLSKey      []string `name:"api-tls-key" help:"As --tls-key, for --api-tls-cert." placeholder:"FILE" group:"TLS" live:"yes"`
	APITLSOCSP     []string `name:"api-tls-ocsp" help:"As --tls-ocsp, for --api-tls-cert." placeholder:"FILE" group:"TLS" live:"yes"`
	APITLSMin      string   `name:"api-tls-min" help:"Minimum version on the API listener: 1.2 or 1.3." enum:"1.2,1.3" default:"1.2" group:"TLS" live:"yes"`
	APITLSClientCA string   `name:"api-tls-client-ca" help:"Require certificates of the API's clients, besides an API key." placeholder:"FILE" group:"TLS" live:"yes"`
}

var tlsVersions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// publicTLS reports whether the public listener has TLS, apiTLS whether the API's has.
func (f *tlsFlags) publicTLS() bool { return len(f.TLSCert)+len(f.ACMEDomain) > 0 }
func (f *tlsFlags) apiTLS() bool    { return f.APITLSShared || len(f.APITLSCert) > 0 }

// secured is a listener with its certificates in use.
type secured struct {
	certs *certs.Certificates // nil: no TLS. guarded by program.certsMu
	set   func(*tls.Config) error
}

// certsPair are the certificates of the public listener and of the API; nil: no TLS.
type certsPair [2]*certs.Certificates

func (c *certsPair) public() *certs.Certificates { return c[0] }
func (c *certsPair) api() *certs.Certificates    { return c[1] }

// open reads the files of both listeners.
func (f *tlsFlags) open(now time.Time) (pair certsPair, err error) {
	if f.APITLSShared && len(f.APITLSCert) > 0 {
		return pair, errors.New("--api-tls-shared and --api-tls-cert are both given: want one certificate for the API")
	}
	public := certs.Files{
		Listener: "public", Flags: "--tls", Cert: f.TLSCert, Key: f.TLSKey, OCSP: f.TLSOCSP,
		ClientCA: f.TLSClientCA, MinVersion: tlsVersions[f.TLSMin],
		Managed: len(f.ACMEDomain) > 0,
	}
	api := certs.Files{
		Listener: "api", Flags: "--api-tls", Cert: f.APITLSCert, Key: f.APITLSKey, OCSP: f.APITLSOCSP,
		ClientCA: f.APITLSClientCA, MinVersion: tlsVersions[f.APITLSMin],
	}
	if f.APITLSShared {
		api.Cert, api.Key, api.OCSP, api.Managed = public.Cert, public.Key, public.OCSP, public.Managed
	}
	if pair[0], err = certs.Open(public, now); err == nil {
		pair[1], err = certs.Open(api, now)
	}
	return pair, err
}

// certificatesEvery is how often the files are looked at.
const certificatesEvery = 5 * time.Second

// useCertificates begins to look at the files of listeners with TLS, until ctx ends.
func (p *program) useCertificates(ctx context.Context, pair certsPair) {
	p.certsMu.Lock()
	defer p.certsMu.Unlock()
	p.secured = []secured{
		{pair.public(), func(cfg *tls.Config) error { return p.srv.SetTLS(p.obtained(pair.public(), cfg)) }},
		{pair.api(), func(cfg *tls.Config) error { return p.api.SetTLS(p.obtained(pair.api(), cfg)) }},
	}
	for _, l := range p.secured {
		if l.certs != nil {
			l.certs.Log(p.log, time.Now(), "TLS certificate loaded")
		}
	}
	if pair == (certsPair{}) {
		return
	}
	every := time.NewTicker(certificatesEvery)
	context.AfterFunc(ctx, every.Stop)
	go p.watchCertificates(ctx, every.C)
}

// watchCertificates looks at the files whenever every says so, until ctx ends.
func (p *program) watchCertificates(ctx context.Context, every <-chan time.Time) {
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-every:
			p.certsMu.Lock()
			for _, l := range p.secured {
				if l.certs != nil {
					l.certs.Look(p.log, now, l.set)
				}
			}
			p.certsMu.Unlock()
		}
	}
}

// reloadTLS puts the TLS flags and files of a reload into force. Whether there is TLS at
// all needs a restart.
func (p *program) reloadTLS(next *plan) (func() error, error) {
	return func() error {
		p.certsMu.Lock()
		defer p.certsMu.Unlock()
		for i := range p.secured {
			l, c := &p.secured[i], next.cmd.certs[i]
			if l.certs == nil || c == nil || l.certs.Managed() != c.Managed() || l.certs.Same(c) {
				continue // it needs a restart, or to set the same would make session tickets invalid
			}
			if err := l.set(c.Config()); err != nil {
				return err
			}
			l.certs = c
			c.Log(p.log, time.Now(), "TLS certificate reloaded")
		}
		return nil
	}, nil
}

// togglesTLS reports whether a flag of next switches TLS on or off, or between files and
// ACME.
func (p *program) togglesTLS(flag string, next *serveCmd) bool {
	switch {
	case strings.HasPrefix(flag, "tls-"):
		return next.publicTLS() != p.cmd.publicTLS() || len(next.TLSCert) == 0 != (len(p.cmd.TLSCert) == 0)
	case strings.HasPrefix(flag, "api-tls-"):
		return next.apiTLS() != p.cmd.apiTLS() || len(next.APITLSCert) == 0 != (len(p.cmd.APITLSCert) == 0)
	}
	return false
}

// acmeFlags say how certificates are obtained.
type acmeFlags struct {
	ACMEDomain []string `name:"acme-domain" help:"Obtain a certificate for this domain by ACME, and renew it, in place of --tls-cert; repeatable." placeholder:"DOMAIN" group:"TLS"`
	ACMEAgree  bool     `name:"acme-agree" help:"Agree to the terms of the certificate authority." group:"TLS"`
	ACMEEmail  string   `name:"acme-email" help:"Address that the authority may send notices to." placeholder:"EMAIL" group:"TLS"`
	ACMECA     string   `name:"acme-ca" help:"URL of the authority's directory; by default that of Let's Encrypt." placeholder:"URL" group:"TLS"`
	ACMECARoot string   `name:"acme-ca-root" help:"Certificates in PEM that verify the authority's own server, for a private authority." placeholder:"FILE" group:"TLS"`
	ACMEHTTP   string   `name:"acme-http" help:"Address of a listener for HTTP-01, which the authority reaches at port 80; without it, TLS-ALPN-01 on the public listener, at port 443." placeholder:"ADDRESS" group:"TLS"`
}

// acme returns the configuration; nil: certificates are not obtained.
func (cmd *serveCmd) acme(log *slog.Logger) (*acme.Config, error) {
	if len(cmd.ACMEDomain) == 0 {
		return nil, nil
	}
	if len(cmd.TLSCert) > 0 {
		return nil, errors.New("--acme-domain and --tls-cert are both given: want certificates that are obtained, or files")
	}
	cfg := &acme.Config{
		Domains: cmd.ACMEDomain, Agreed: cmd.ACMEAgree, Email: cmd.ACMEEmail, CA: cmd.ACMECA, HTTP: cmd.ACMEHTTP, Logger: log,
	}
	if cmd.ACMECARoot != "" {
		var err error
		if cfg.Roots, err = certs.Pool("--acme-ca-root", cmd.ACMECARoot); err != nil {
			return nil, err
		}
	}
	if cmd.NATS != "" {
		cfg.NATS = &acme.NATS{URL: cmd.NATS, Credentials: cmd.NATSCreds, CA: cmd.NATSCA, Cert: cmd.NATSCert, Key: cmd.NATSKey, Replicas: cmd.NATSReplicas}
		return cfg, nil
	}
	dir := cmd.dataDir(log)
	if dir == "" {
		return nil, errors.New("--acme-domain needs a place for private keys: give --data-dir, or --nats")
	}
	cfg.Dir = filepath.Join(dir, "acme")
	return cfg, nil
}

// obtained returns the configuration of a listener with the certificates that are obtained,
// if these are what it uses.
func (p *program) obtained(c *certs.Certificates, cfg *tls.Config) *tls.Config {
	switch {
	case !c.Managed():
		return cfg
	case p.acme == nil: // a plan, for Validate
		cfg = cfg.Clone()
		cfg.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("no certificate yet") }
		return cfg
	}
	return p.acme.TLS(cfg)
}
