package servers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// writeCertificate writes a new certificate and its key into a new directory. The file key.pem has both, as HAProxy
// wants them.
func writeCertificate() (cert, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", fmt.Errorf("servers: certificate: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return "", "", fmt.Errorf("servers: certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", fmt.Errorf("servers: certificate: %w", err)
	}
	dir, err := os.MkdirTemp("", "fanfare-bench-")
	if err != nil {
		return "", "", fmt.Errorf("servers: certificate: %w", err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	both := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), public...)
	if err = os.WriteFile(cert, public, 0o600); err == nil {
		err = os.WriteFile(key, both, 0o600)
	}
	if err != nil {
		os.RemoveAll(dir)
		return "", "", fmt.Errorf("servers: certificate: %w", err)
	}
	return cert, key, nil
}

func (s *Server) removeCertificate() {
	if s.certDir != "" {
		os.RemoveAll(s.certDir)
	}
}
