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

// writeCertificate writes a new certificate and its key into the directory of the server. The file key.pem has both, as
// HAProxy wants them.
func (a *Addresses) writeCertificate() error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("servers: certificate: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return fmt.Errorf("servers: certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return fmt.Errorf("servers: certificate: %w", err)
	}
	if err := a.makeDir(); err != nil {
		return err
	}
	a.Cert, a.Key = filepath.Join(a.Dir, "cert.pem"), filepath.Join(a.Dir, "key.pem")
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	both := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), public...)
	if err = os.WriteFile(a.Cert, public, 0o600); err == nil {
		err = os.WriteFile(a.Key, both, 0o600)
	}
	if err != nil {
		return fmt.Errorf("servers: certificate: %w", err)
	}
	return nil
}
