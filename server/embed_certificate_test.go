package server

import (
	"crypto/tls"
	"crypto/x509"
	"net/http/httptest"
	"testing"
)

// testCertificate is that of httptest, for example.com.
func testCertificate(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	ts := httptest.NewTLSServer(nil)
	defer ts.Close()
	roots := x509.NewCertPool()
	roots.AddCert(ts.Certificate())
	return ts.TLS.Certificates[0], roots
}
