package certs

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"
)

// Files are the files of a listener and its settings, as flags name them.
type Files struct {
	Listener string // for the log
	Flags    string // how the names of the flags begin: "--tls" for --tls-cert

	Cert []string // certificates, each with its chain
	Key  []string // one for each of Cert
	OCSP []string // none, or one for each of Cert; NoStaple: without

	// Managed: certificates are obtained while the server runs, in place of Cert, and the
	// caller sets GetCertificate of the configuration.
	Managed bool

	ClientCA   string // authorities of client certificates, which are required then
	MinVersion uint16
}

// NoStaple stands in Files.OCSP for a certificate without an OCSP response.
const NoStaple = "-"

// check returns an error unless the lists belong together.
func (f *Files) check() error {
	switch n := len(f.Cert); {
	case n != len(f.Key):
		return fmt.Errorf("want one %s-key for each %s-cert: certificates are %d, and keys %d", f.Flags, f.Flags, n, len(f.Key))
	case len(f.OCSP) > 0 && len(f.OCSP) != n:
		return fmt.Errorf("%s-ocsp is given %d times and %s-cert %d times: want one for each certificate, %q for one without", f.Flags, len(f.OCSP), f.Flags, n, NoStaple)
	}
	return nil
}

// contents are the bytes of the files.
type contents struct {
	cert, key, ocsp [][]byte // ocsp has nil for NoStaple
	clientCA        []byte
	digest          [sha256.Size]byte
}

// read reads the files.
func (f *Files) read() (*contents, error) {
	sum := sha256.New()
	readAll := func(flag string, names ...string) (all [][]byte, err error) {
		for _, name := range names {
			var b []byte
			if flag != "ocsp" || name != NoStaple {
				if b, err = os.ReadFile(name); err != nil {
					return nil, fmt.Errorf("%s-%s: %w", f.Flags, flag, err)
				}
			}
			fmt.Fprintf(sum, "%s %d\n", flag, len(b))
			sum.Write(b)
			all = append(all, b)
		}
		return all, nil
	}
	var c contents
	var errs [4]error
	c.cert, errs[0] = readAll("cert", f.Cert...)
	c.key, errs[1] = readAll("key", f.Key...)
	c.ocsp, errs[2] = readAll("ocsp", f.OCSP...)
	if f.ClientCA != "" {
		var ca [][]byte
		if ca, errs[3] = readAll("client-ca", f.ClientCA); len(ca) > 0 {
			c.clientCA = ca[0]
		}
	}
	c.digest = [sha256.Size]byte(sum.Sum(nil))
	return &c, errors.Join(errs[:]...)
}

// config makes a configuration of the contents.
func (f *Files) config(c *contents, now time.Time) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: f.MinVersion}
	for i := range f.Cert {
		cert, err := tls.X509KeyPair(c.cert[i], c.key[i])
		if err != nil {
			return nil, fmt.Errorf("%s-cert %s with %s-key %s: %w", f.Flags, f.Cert[i], f.Flags, f.Key[i], err)
		}
		if len(f.OCSP) > 0 && f.OCSP[i] != NoStaple {
			if err := checkStaple(c.ocsp[i], &cert, now); err != nil {
				return nil, fmt.Errorf("%s-ocsp: %s %w", f.Flags, f.OCSP[i], err)
			}
			cert.OCSPStaple = c.ocsp[i]
		}
		cfg.Certificates = append(cfg.Certificates, cert)
	}
	if f.ClientCA != "" {
		cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		if !cfg.ClientCAs.AppendCertsFromPEM(c.clientCA) {
			return nil, fmt.Errorf("%s-client-ca: %s has no certificate in PEM", f.Flags, f.ClientCA)
		}
	}
	return cfg, nil
}
