package main

import (
	"context"
	"crypto/tls"
	"strings"
	"time"

	"fanfare/cmd/fanfare/internal/certs"
	"fanfare/cmd/fanfare/internal/settings"
)

// secured is a listener with its certificates in use.
type secured struct {
	certs *certs.Certificates // nil: no TLS. guarded by program.certsMu
	set   func(*tls.Config) error
}

// certificatesEvery is how often the files are looked at.
const certificatesEvery = 5 * time.Second

// useCertificates begins to look at the files of listeners with TLS, until ctx ends.
func (p *program) useCertificates(ctx context.Context, pair settings.Certificates) {
	p.certsMu.Lock()
	defer p.certsMu.Unlock()
	p.secured = []secured{
		{pair.Public(), func(cfg *tls.Config) error { return p.srv.SetTLS(p.obtained(pair.Public(), cfg)) }},
		{pair.API(), func(cfg *tls.Config) error { return p.api.SetTLS(p.obtained(pair.API(), cfg)) }},
	}
	for _, l := range p.secured {
		if l.certs != nil {
			l.certs.Log(p.log, time.Now(), "TLS certificate loaded")
		}
	}
	if pair == (settings.Certificates{}) {
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
func (p *program) reloadTLS(next *settings.Plan) (func() error, error) {
	return func() error {
		p.certsMu.Lock()
		defer p.certsMu.Unlock()
		for i := range p.secured {
			l, c := &p.secured[i], next.Certificates[i]
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
func (p *program) togglesTLS(flag string, next *settings.Serve) bool {
	switch {
	case strings.HasPrefix(flag, "tls-"):
		return next.PublicTLS() != p.flags.PublicTLS() || len(next.TLSCert) == 0 != (len(p.flags.TLSCert) == 0)
	case strings.HasPrefix(flag, "api-tls-"):
		return next.APITLS() != p.flags.APITLS() || len(next.APITLSCert) == 0 != (len(p.flags.APITLSCert) == 0)
	}
	return false
}

// obtained returns the configuration of a listener with the certificates that are obtained,
// if these are what it uses.
func (p *program) obtained(c *certs.Certificates, cfg *tls.Config) *tls.Config {
	return c.Obtained(p.acme, cfg)
}
