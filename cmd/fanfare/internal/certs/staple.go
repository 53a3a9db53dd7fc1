package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ocsp"
)

// checkStaple returns an error unless der is an OCSP response that clients accept at now:
// it is signed for this certificate by its issuer, says good, and has not expired, RFC
// 6960 section 4.2.2.1.
func checkStaple(der []byte, cert *tls.Certificate, now time.Time) error {
	if len(cert.Certificate) < 2 {
		return errors.New("cannot be checked: the file of the certificate has no issuer; append its chain")
	}
	issuer, err := x509.ParseCertificate(cert.Certificate[1])
	if err != nil {
		return fmt.Errorf("cannot be checked: the issuer in the file of the certificate: %w", err)
	}
	var status ocsp.ResponseError
	r, err := ocsp.ParseResponse(der, nil) // without an issuer: the error says more
	switch {
	case errors.As(err, &status):
		return fmt.Errorf("has no status: the authority answered %q", status.Status)
	case err != nil:
		return fmt.Errorf("is not an OCSP response in DER for one certificate: %w", err)
	case r.SerialNumber.Cmp(cert.Leaf.SerialNumber) != 0:
		return fmt.Errorf("is for another certificate: its serial number is %x, that of %v is %x", r.SerialNumber, cert.Leaf.DNSNames, cert.Leaf.SerialNumber)
	}
	if _, err := ocsp.ParseResponse(der, issuer); err != nil {
		return fmt.Errorf("is not signed by the issuer of the certificate: %w", err)
	}
	switch {
	case r.Status == ocsp.Revoked:
		return fmt.Errorf("says that the certificate was revoked at %s", r.RevokedAt.UTC().Format(time.RFC3339))
	case r.Status != ocsp.Good:
		return errors.New("says that the status of the certificate is unknown")
	case now.Before(r.ThisUpdate):
		return fmt.Errorf("is not valid before %s", r.ThisUpdate.UTC().Format(time.RFC3339))
	case !r.NextUpdate.IsZero() && !now.Before(r.NextUpdate):
		return fmt.Errorf("has expired at %s: fetch a new one", r.NextUpdate.UTC().Format(time.RFC3339))
	}
	return nil
}

// stapleEnds returns when the staple expires; the zero time if there is none, or it does
// not expire.
func stapleEnds(cert *tls.Certificate) time.Time {
	if len(cert.OCSPStaple) == 0 {
		return time.Time{}
	}
	r, err := ocsp.ParseResponse(cert.OCSPStaple, nil)
	if err != nil {
		return time.Time{}
	}
	return r.NextUpdate
}
