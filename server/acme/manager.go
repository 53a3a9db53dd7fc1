package acme

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"golang.org/x/net/netutil"
)

// Manager obtains and renews certificates.
type Manager struct {
	cfg     Config // immutable
	storage certmagic.Storage
	close   func() // of the storage
	quit    context.Context
	stop    context.CancelFunc

	// Set by Start, before anything else uses them.
	cache  *certmagic.Cache
	magic  *certmagic.Config
	issuer *certmagic.ACMEIssuer
	http   *http.Server
}

// New returns a Manager. It connects to NATS, if that is the storage, and returns soon
// even if NATS does not answer.
func New(cfg Config) (*Manager, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	m := &Manager{cfg: cfg, storage: &certmagic.FileStorage{Path: cfg.Dir}, close: func() {}}
	if cfg.NATS != nil {
		b, err := openBucket(cfg.NATS, cfg.Logger)
		if err != nil {
			return nil, err
		}
		m.storage, m.close = b, b.close
	}
	m.quit, m.stop = context.WithCancel(context.Background())
	log := newLogger(cfg.Logger)
	m.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert:   func(certmagic.Certificate) (*certmagic.Config, error) { return m.magic, nil },
		RenewCheckInterval: cfg.renewalCheck,
		Logger:             log,
	})
	m.magic = certmagic.New(m.cache, certmagic.Config{
		Storage: m.storage, OnEvent: m.event, Logger: log,
		RenewalWindowRatio: cfg.renewalRatio, DisableARI: cfg.renewalRatio != 0,
	})
	return m, nil
}

// Start begins to obtain certificates: what is stored is in use when it returns. listener is
// the address of the listener that has TLS. Close ends what Start begins.
func (m *Manager) Start(listener net.Addr) error {
	template := certmagic.ACMEIssuer{
		CA: m.cfg.CA, Email: m.cfg.Email, Agreed: m.cfg.Agreed, TrustedRoots: m.cfg.Roots,
		DisableHTTPChallenge: m.cfg.HTTP == "", Logger: newLogger(m.cfg.Logger),
	}
	// certmagic opens a listener for a challenge unless it finds one: these are ours.
	template.ListenHost, template.AltTLSALPNPort = hostPort(listener)
	if m.cfg.HTTP != "" {
		ln, err := net.Listen("tcp", m.cfg.HTTP)
		if err != nil {
			return fmt.Errorf("acme: %w", err)
		}
		var host string
		if host, template.AltHTTPPort = hostPort(ln.Addr()); host != template.ListenHost {
			template.ListenHost = "" // there is one for both; the port is in use either way
		}
		defer m.serveHTTP(ln) // when the issuer is there
	}
	m.issuer = certmagic.NewACMEIssuer(m.magic, template)
	m.magic.Issuers = []certmagic.Issuer{m.issuer}
	if err := m.manage(); err != nil {
		go m.retry(err)
	}
	return nil
}

// manage loads the certificates that are stored, and begins to obtain the others. It
// returns an error if the storage does.
func (m *Manager) manage() error { return m.magic.ManageAsync(m.quit, m.cfg.Domains) }

// retryEvery is how often manage is called again.
const retryEvery = 15 * time.Second

func (m *Manager) retry(err error) {
	m.cfg.Logger.Error("ACME storage not available, retrying", "err", err, "retry", retryEvery)
	every := time.NewTicker(retryEvery)
	defer every.Stop()
	for {
		select {
		case <-m.quit.Done():
			return
		case <-every.C:
			if m.manage() == nil {
				m.cfg.Logger.Info("ACME storage available")
				return
			}
		}
	}
}

func hostPort(addr net.Addr) (host string, port int) {
	host, digits, _ := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = ""
	}
	port, _ = strconv.Atoi(digits)
	return host, port
}

// MaxHTTPConnections bounds the connections to Config.HTTP that are open at a time. Each is
// closed after one request, or 10 s.
const MaxHTTPConnections = 64

// serveHTTP answers HTTP-01, and redirects everything else to https.
func (m *Manager) serveHTTP(ln net.Listener) {
	m.http = &http.Server{
		Handler:           m.issuer.HTTPChallengeHandler(http.HandlerFunc(redirect)),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second,
		MaxHeaderBytes: 8 << 10,
	}
	m.http.SetKeepAlivesEnabled(false)
	m.cfg.Logger.Info("ACME HTTP-01 listener", "address", ln.Addr().String())
	go m.http.Serve(netutil.LimitListener(ln, MaxHTTPConnections))
}

// redirect sends a browser to the same place by https, and rejects what a browser would
// not send again.
func redirect(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "use https", http.StatusBadRequest)
		return
	}
	http.Redirect(w, r, "https://"+host+r.URL.RequestURI(), http.StatusMovedPermanently)
}

// TLS returns a copy of cfg that has the certificates, and answers TLS-ALPN-01.
func (m *Manager) TLS(cfg *tls.Config) *tls.Config {
	cfg = cfg.Clone()
	cfg.GetCertificate = m.magic.GetCertificate
	// The authority offers this protocol alone, RFC 8737 section 3, and has no certificate.
	challenge := &tls.Config{GetCertificate: m.magic.GetCertificate, NextProtos: []string{acmez.ACMETLS1Protocol}, MinVersion: tls.VersionTLS12}
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Equal(hello.SupportedProtos, challenge.NextProtos) {
			return challenge, nil
		}
		return nil, nil
	}
	return cfg
}

// Close ends renewals. Certificates that are loaded stay in use.
func (m *Manager) Close() {
	m.stop()
	m.cache.Stop()
	if m.http != nil {
		m.http.Close()
	}
	m.close()
}

// event logs an event of certmagic.
func (m *Manager) event(_ context.Context, event string, data map[string]any) error {
	switch event {
	case "cert_obtained":
		m.cfg.Logger.Info("ACME certificate obtained", "name", data["identifier"], "renewal", data["renewal"])
	case "cert_failed":
		m.cfg.Logger.Error("ACME certificate not obtained, the authority is asked again", "name", data["identifier"], "renewal", data["renewal"], "err", data["error"])
	}
	return nil
}
