package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

var now = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// authority signs certificates and OCSP responses.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.issue("authority", 1)
	return a
}

func (a *authority) issue(name string, serial int64) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), IsCA: a.cert == nil, BasicConstraintsValid: true,
	}
	parent, signer := a.cert, a.key
	if a.cert == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func (a *authority) write(name string, content []byte) string {
	a.t.Helper()
	file := filepath.Join(a.dir, name)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		a.t.Fatal(err)
	}
	return file
}

// pair writes a certificate with its chain, and its key.
func (a *authority) pair(file, name string, serial int64) (cert, key string) {
	a.t.Helper()
	c, k := a.issue(name, serial)
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	chain := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})...)
	return a.write(file+".crt", chain), a.write(file+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// staple returns an OCSP response.
func (a *authority) staple(r ocsp.Response) []byte {
	a.t.Helper()
	der, err := ocsp.CreateResponse(a.cert, a.cert, r, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return der
}

func good(serial int64) ocsp.Response {
	return ocsp.Response{Status: ocsp.Good, SerialNumber: big.NewInt(serial), ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(time.Hour)}
}

func TestStapleErrors(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	cert, key := a.pair("a", "a.test", 7)
	alone := a.write("alone.crt", pem.EncodeToMemory(func() *pem.Block { b, _ := pem.Decode(mustRead(t, cert)); return b }()))
	expired, early, revoked, unknown := good(7), good(7), good(7), good(7)
	expired.NextUpdate = now
	early.ThisUpdate = now.Add(time.Minute)
	revoked.Status, revoked.RevokedAt = ocsp.Revoked, now.Add(-time.Hour)
	unknown.Status = ocsp.Unknown
	for _, tt := range []struct {
		name, cert string
		staple     []byte
		want       string
	}{
		{"good", cert, a.staple(good(7)), ""},
		{"expired", cert, a.staple(expired), "has expired at 2030-01-01T00:00:00Z: fetch a new one"},
		{"early", cert, a.staple(early), "is not valid before 2030-01-01T00:01:00Z"},
		{"revoked", cert, a.staple(revoked), "says that the certificate was revoked at 2029-12-31T23:00:00Z"},
		{"unknown", cert, a.staple(unknown), "says that the status of the certificate is unknown"},
		{"another certificate", cert, a.staple(good(8)), "is for another certificate: its serial number is 8, that of [a.test] is 7"},
		{"another authority", cert, stranger.staple(good(7)), "is not signed by the issuer of the certificate"},
		{"no OCSP", cert, []byte("hello"), "is not an OCSP response in DER for one certificate"},
		{"empty", cert, nil, "is not an OCSP response in DER for one certificate"},
		{"try later", cert, ocsp.TryLaterErrorResponse, `has no status: the authority answered "try later"`},
		{"no chain", alone, a.staple(good(7)), "cannot be checked: the file of the certificate has no issuer; append its chain"},
	} {
		file := a.write("staple", tt.staple)
		c, err := Open(Files{Flags: "--tls", Cert: []string{tt.cert}, Key: []string{key}, OCSP: []string{file}}, now)
		if tt.want == "" {
			if err != nil || string(c.Config().Certificates[0].OCSPStaple) != string(tt.staple) {
				t.Errorf("%s: %v, or another staple", tt.name, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), "--tls-ocsp: "+file+" "+tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
}

func mustRead(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// look is a Certificates that is looked at, with what follows from that.
type look struct {
	*Certificates
	log   strings.Builder
	inUse []string // names and staples of the configurations that were set
}

func (l *look) at(at time.Time) {
	for range 3 { // more often than the files change
		l.Look(slog.New(slog.NewTextHandler(&l.log, nil)), at, func(cfg *tls.Config) error {
			text := cfg.Certificates[0].Leaf.Subject.CommonName
			if len(cfg.Certificates[0].OCSPStaple) > 0 {
				text += "+staple"
			}
			l.inUse = append(l.inUse, text)
			return nil
		})
	}
}

func (l *look) check(t *testing.T, inUse, event string, times int) {
	t.Helper()
	if got := strings.Join(l.inUse, " "); got != inUse {
		t.Errorf("in force: %q, want %q", got, inUse)
	}
	if n := strings.Count(l.log.String(), event); n != times {
		t.Errorf("%q is logged %d times, want %d: %s", event, n, times, &l.log)
	}
}

// A staple is replaced when its file is, and not sent when it has expired.
func TestStapleReload(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.pair("a", "a.test", 7)
	file := a.write("staple", a.staple(good(7)))
	c, err := Open(Files{Flags: "--tls", Cert: []string{cert}, Key: []string{key}, OCSP: []string{file}}, now)
	if err != nil {
		t.Fatal(err)
	}
	l := &look{Certificates: c}
	l.at(now)
	l.check(t, "", "reloaded", 0)
	a.write("staple", a.staple(good(8)))
	l.at(now)
	l.check(t, "", "is for another certificate", 1)
	l.at(now.Add(time.Hour)) // the old one is in use until now
	l.check(t, "a.test", "OCSP response expired", 1)
	fresh := good(7)
	fresh.NextUpdate = now.Add(2 * time.Hour)
	a.write("staple", a.staple(fresh))
	l.at(now.Add(time.Hour))
	l.check(t, "a.test a.test+staple", "TLS certificate reloaded", 1)
	if want := "ocsp_until=2030-01-01T02:00:00.000Z"; !strings.Contains(l.log.String(), want) {
		t.Errorf("no %s in %s", want, &l.log)
	}
}

// Files that cannot be used leave the old certificates in force, and are logged once.
func TestFilesThatCannotBeUsed(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.pair("a", "a.test", 7)
	c, err := Open(Files{Flags: "--tls", Cert: []string{cert}, Key: []string{key}}, now)
	if err != nil {
		t.Fatal(err)
	}
	l := &look{Certificates: c}
	old := mustRead(t, key)
	a.pair("a", "b.test", 8)
	next := mustRead(t, key)
	a.write("a.key", old) // the new certificate is there, its key is not
	l.at(now)
	os.Remove(key)
	l.at(now)
	a.write("a.key", next)
	l.at(now)
	l.check(t, "b.test", "not reloaded", 2)
	if d, err := Open(c.files, now); err != nil || !c.Same(d) || !c.Same(c) {
		t.Errorf("the same files differ: %v", err)
	}
	if d, err := Open(Files{Flags: "--tls", Cert: []string{cert}, Key: []string{key}, MinVersion: tls.VersionTLS13}, now); err != nil || c.Same(d) {
		t.Errorf("another minimum version is the same: %v", err)
	}
}

func TestOpenErrors(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.pair("a", "a.test", 7)
	for _, tt := range []struct {
		files Files
		want  string
	}{
		{Files{Cert: []string{cert}}, "want one --x-key for each --x-cert: certificates are 1, and keys 0"},
		{Files{Cert: []string{cert, cert}, Key: []string{key, key}, OCSP: []string{"-"}}, `--x-ocsp is given 1 times and --x-cert 2 times: want one for each certificate, "-" for one without`},
		{Files{Cert: []string{cert}, Key: []string{"/nowhere"}}, "--x-key: open /nowhere: no such file or directory"},
		{Files{Cert: []string{cert}, Key: []string{key}, OCSP: []string{"/nowhere"}}, "--x-ocsp: open /nowhere: no such file or directory"},
		{Files{Cert: []string{cert}, Key: []string{key}, ClientCA: key}, "--x-client-ca: " + key + " has no certificate in PEM"},
	} {
		tt.files.Flags = "--x"
		if _, err := Open(tt.files, now); err == nil || err.Error() != tt.want {
			t.Errorf("%v, want %s", err, tt.want)
		}
	}
	if c, err := Open(Files{Flags: "--x"}, now); c != nil || err != nil {
		t.Errorf("without files: %v, %v", c, err)
	}
	if c, err := Open(Files{Flags: "--x", Cert: []string{cert, cert}, Key: []string{key, key}, OCSP: []string{"-", "-"}}, now); err != nil || len(c.Config().Certificates) != 2 {
		t.Errorf("without staples: %v", err)
	}
}
