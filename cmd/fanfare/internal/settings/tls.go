package settings

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"path/filepath"
	"time"

	"fanfare/cmd/fanfare/internal/certs"
	"fanfare/server/acme"
	"fanfare/server/inbox"
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

// PublicTLS reports whether the public listener has TLS, APITLS whether the API's has.
func (f *tlsFlags) PublicTLS() bool { return len(f.TLSCert)+len(f.ACMEDomain) > 0 }
func (f *tlsFlags) APITLS() bool    { return f.APITLSShared || len(f.APITLSCert) > 0 }

// Certificates are the certificates of the public listener and of the API; nil: no TLS.
type Certificates [2]*certs.Certificates

func (c *Certificates) Public() *certs.Certificates { return c[0] }
func (c *Certificates) API() *certs.Certificates    { return c[1] }

// open reads the files of both listeners.
func (f *tlsFlags) open(now time.Time) (pair Certificates, err error) {
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

// acmeFlags say how certificates are obtained.
type acmeFlags struct {
	ACMEDomain []string `name:"acme-domain" help:"Obtain a certificate for this domain by ACME, and renew it, in place of --tls-cert; repeatable." placeholder:"DOMAIN" group:"TLS"`
	ACMEAgree  bool     `name:"acme-agree" help:"Agree to the terms of the certificate authority." group:"TLS"`
	ACMEEmail  string   `name:"acme-email" help:"Address that the authority may send notices to." placeholder:"EMAIL" group:"TLS"`
	ACMECA     string   `name:"acme-ca" help:"URL of the authority's directory; by default that of Let's Encrypt." placeholder:"URL" group:"TLS"`
	ACMECARoot string   `name:"acme-ca-root" help:"Certificates in PEM that verify the authority's own server, for a private authority." placeholder:"FILE" group:"TLS"`
	ACMEHTTP   string   `name:"acme-http" help:"Address of a listener for HTTP-01, which the authority reaches at port 80; without it, TLS-ALPN-01 on the public listener, at port 443." placeholder:"ADDRESS" group:"TLS"`
}

// acme returns the configuration; nil: certificates are not obtained. store is that of durable
// messages, nil if there is none.
func (cmd *Serve) acme(store *inbox.Config, log *slog.Logger) (*acme.Config, error) {
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
	if store == nil {
		return nil, errors.New("--acme-domain needs a place for private keys: give --data-dir, or --nats")
	}
	cfg.Dir = filepath.Join(store.Dir, "acme")
	return cfg, nil
}
