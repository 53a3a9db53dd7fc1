package certs

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Client says how a client of a listener speaks TLS. It is for kong.
type Client struct {
	CA         string `name:"ca" help:"Certificates in PEM that are trusted: authorities, or the API's own; by default the authorities of the system." placeholder:"FILE"`
	ServerName string `help:"Name that the API's certificate must have; by default the host of the URL." placeholder:"NAME"`
	ClientCert string `help:"Certificate of this client, in PEM, for an API with --api-tls-client-ca." placeholder:"FILE"`
	ClientKey  string `help:"Its private key, in PEM." placeholder:"FILE"`
}

// Config returns the configuration for a server, which is reached by TLS or not.
func (c *Client) Config(secure bool) (*tls.Config, error) {
	if !secure && *c != (Client{}) {
		return nil, errors.New("--ca, --server-name, --client-cert and --client-key have no effect here: they need --api https://…")
	}
	cfg := &tls.Config{ServerName: c.ServerName}
	if c.CA != "" {
		var err error
		if cfg.RootCAs, err = Pool("--ca", c.CA); err != nil {
			return nil, err
		}
	}
	if (c.ClientCert == "") != (c.ClientKey == "") {
		return nil, errors.New("--client-cert and --client-key belong together: want both or neither")
	}
	if c.ClientCert != "" {
		pair, err := tls.LoadX509KeyPair(c.ClientCert, c.ClientKey)
		if err != nil {
			return nil, fmt.Errorf("--client-cert %s with --client-key %s: %w", c.ClientCert, c.ClientKey, err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// Served are flags of serve for health, which reads the same config file and
// environment, whether the API speaks TLS, and with which certificate.
type Served struct {
	APITLSShared bool     `name:"api-tls-shared" hidden:""`
	APITLSCert   []string `name:"api-tls-cert" hidden:""`
	TLSCert      []string `name:"tls-cert" hidden:""`
}

// Trust makes c trust the first certificate of the API, under any of its names. It reports
// false if the API does not speak TLS.
func (s *Served) Trust(c *Client) (bool, error) {
	files := s.APITLSCert
	if s.APITLSShared {
		files = s.TLSCert
	}
	if len(files) == 0 {
		return false, nil
	}
	if c.CA == "" && c.ServerName == "" {
		text, err := os.ReadFile(files[0])
		if err != nil {
			return false, fmt.Errorf("the API's certificate: %w", err)
		}
		name, err := anyName(text)
		if err != nil {
			return false, fmt.Errorf("the API's certificate, %s, %w", files[0], err)
		}
		c.CA, c.ServerName = files[0], name
	}
	return true, nil
}

// anyName returns a name of the first certificate in a file.
func anyName(text []byte) (string, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return "", errors.New("is not in PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	switch {
	case err != nil:
		return "", fmt.Errorf("cannot be read: %w", err)
	case len(cert.DNSNames) > 0:
		return strings.Replace(cert.DNSNames[0], "*", "any", 1), nil
	case len(cert.IPAddresses) > 0:
		return cert.IPAddresses[0].String(), nil
	}
	return "", errors.New("has no name: give --server-name, and --ca")
}

// Pool reads the certificates of authorities from the file of a flag.
func Pool(flag, file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: %s has no certificate in PEM", flag, file)
	}
	return pool, nil
}
