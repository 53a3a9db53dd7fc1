package inbox

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"fanfare/server/internal/natstest"
)

// authority signs certificates into files of a directory.
type authority struct {
	t    *testing.T
	dir  string
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.key, a.cert = a.sign("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil)
	return a
}

// sign writes NAME.pem and NAME.key.
func (a *authority) sign(name string, c *x509.Certificate, by *authority) (*ecdsa.PrivateKey, *x509.Certificate) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := c, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{".pem": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(a.file(name+file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		a.t.Fatal(err)
	}
	return key, c
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// TestTLS: an outside NATS that wants a certificate, of an authority of its own.
func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	for _, name := range []string{"server", "client"} {
		ca.sign(name, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}, ca)
	}
	pair, err := tls.LoadX509KeyPair(ca.file("server.pem"), ca.file("server.key"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	url := outside(t, natsserver.Options{TLS: true, TLSVerify: true,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}})
	s := open(t, Config{URL: url, CA: ca.file("ca.pem"), Cert: ca.file("client.pem"), Key: ca.file("client.key")})
	put(t, s, user("u"), "x")
	if got, _ := read(t, s, user("u"), 0); strings.Join(got, " ") != "x" {
		t.Errorf("got %q", got)
	}
	other := newAuthority(t)
	for name, cfg := range map[string]Config{
		"another authority": {URL: url, CA: other.file("ca.pem"), Cert: ca.file("client.pem"), Key: ca.file("client.key")},
		"no such file":      {URL: url, CA: ca.file("none.pem")},
	} {
		cfg.Logger = quiet
		if s, err := Open(ctx, cfg); err == nil {
			s.Close()
			t.Errorf("%s: opens", name)
		} else {
			t.Log(err)
		}
	}
}

// TestCredentials: a NATS of accounts, whose users have signed credentials.
func TestCredentials(t *testing.T) {
	creds, opts := operator(t)
	url := outside(t, opts)
	s := open(t, Config{URL: url, Credentials: creds})
	put(t, s, user("u"), "x")
	if s, err := Open(ctx, Config{URL: url, Logger: quiet}); err == nil {
		s.Close()
		t.Error("opens without credentials")
	} else if !strings.Contains(err.Error(), "uthorization") {
		t.Error(err)
	}
}

// operator makes accounts, and a file with the credentials of a user of one.
func operator(t *testing.T) (creds string, opts natsserver.Options) {
	t.Helper()
	pair := func(prefix nkeys.PrefixByte) (nkeys.KeyPair, string) {
		kp, err := nkeys.CreatePair(prefix)
		if err != nil {
			t.Fatal(err)
		}
		public, err := kp.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		return kp, public
	}
	signed := func(c jwt.Claims, by nkeys.KeyPair) string {
		token, err := c.Encode(by)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	op, opName := pair(nkeys.PrefixByteOperator)
	_, system := pair(nkeys.PrefixByteAccount)
	account, accountName := pair(nkeys.PrefixByteAccount)
	user, userName := pair(nkeys.PrefixByteUser)
	operatorClaims := jwt.NewOperatorClaims(opName)
	operatorClaims.SystemAccount = system
	signed(operatorClaims, op)
	accountClaims := jwt.NewAccountClaims(accountName)
	accountClaims.Limits.JetStreamLimits = jwt.JetStreamLimits{DiskStorage: -1, MemoryStorage: -1, Streams: -1, Consumer: -1}
	resolver := new(natsserver.MemAccResolver)
	for name, token := range map[string]string{
		system:      signed(jwt.NewAccountClaims(system), op),
		accountName: signed(accountClaims, op),
	} {
		if err := resolver.Store(name, token); err != nil {
			t.Fatal(err)
		}
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	file, err := jwt.FormatUserConfig(signed(jwt.NewUserClaims(userName), account), seed)
	if err != nil {
		t.Fatal(err)
	}
	creds = filepath.Join(t.TempDir(), "user.creds")
	if err := os.WriteFile(creds, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return creds, natsserver.Options{TrustedOperators: []*jwt.OperatorClaims{operatorClaims}, AccountResolver: resolver, SystemAccount: system}
}

// outside starts a NATS that listens, and returns its URL.
func outside(t *testing.T, opts natsserver.Options) string {
	t.Helper()
	opts.JetStream = true
	return fmt.Sprintf("nats://%s", startNATS(t, opts))
}

// startNATS starts a NATS on any port, with JetStream if opts say so, and returns its
// address.
func startNATS(t *testing.T, opts natsserver.Options) string {
	t.Helper()
	return natstest.Start(t, opts).Addr().String()
}
