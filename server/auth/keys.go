package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"fanfare/server/internal/callout"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"
)

// Keys verify tokens. LoadKeys makes them; the fields may be set before JWT is called. Keys
// that have Sets only are made without LoadKeys.
type Keys struct {
	// Issuer, if not empty, must be a token's iss.
	Issuer string
	// Audience, if not empty, must be among a token's aud.
	Audience string
	// Leeway is how much the clock of the machine that issues tokens may differ from
	// this one's: a token is accepted as much before nbf and after exp. LoadKeys sets
	// DefaultLeeway.
	Leeway time.Duration
	// CloseExpired closes a session with 3000 within a second after its token has
	// expired by Leeway, when the token stops being accepted. Otherwise a
	// session outlives its token.
	CloseExpired bool
	// Sets are key sets in addition to the keys of the file. A token whose iss is the
	// Issuer of one or several of them is verified with these alone, and with the keys of
	// the file only if Keys.Issuer is the same. Each set has its own audiences.
	Sets []*KeySet

	// byAlgorithm has the keys that each algorithm may use. A public key is never used
	// as a secret because the key decides which algorithm is used, not the token (RFC
	// 8725 section 3.1).
	byAlgorithm map[string][]jwt.VerificationKey
}

// DefaultLeeway is the default of Keys.Leeway.
const DefaultLeeway = 5 * time.Second

const (
	minSecret   = 32      // bytes; RFC 7518 section 3.2: at least the length of the hash
	minRSA      = 2048    // bits; RFC 7518 section 3.3
	maxKeys     = 16      // each may be tried for each token
	maxKeysFile = 1 << 20 // bytes
)

// LoadKeys reads a file with either public keys in PEM, one or several, as "PUBLIC
// KEY", "RSA PUBLIC KEY" or "CERTIFICATE" blocks (the validity of a certificate is not
// checked); or an HMAC secret of at least 32 bytes, which is the file's content without
// a line break at the end. With several keys any may have signed a token, so that a new
// key can be introduced before the old one is removed. Keys are RSA of 2048 bits or more
// (RS256), ECDSA on P-256 (ES256), and Ed25519 (EdDSA).
func LoadKeys(path string) (*Keys, error) {
	data, err := callout.ReadFile(path, maxKeysFile)
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, fmt.Errorf("auth: token keys: %w", err)
	}
	var keys *Keys
	if err == nil {
		keys, err = parseKeys(data)
	}
	if err != nil {
		return nil, fmt.Errorf("auth: token keys: %s: %w", path, err)
	}
	return keys, nil
}

func parseKeys(data []byte) (*Keys, error) {
	k := &Keys{Leeway: DefaultLeeway, byAlgorithm: make(map[string][]jwt.VerificationKey)}
	blocks := bytes.Count(data, []byte("-----BEGIN "))
	if blocks == 0 {
		secret := bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r"))
		if err := checkSecret(secret, data); err != nil {
			return nil, err
		}
		k.add("HS256", secret)
		return k, nil
	}
	if blocks > maxKeys {
		return nil, fmt.Errorf("%d keys: want at most %d", blocks, maxKeys)
	}
	for n := 1; n <= blocks; n++ {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil { // Decode skips what it cannot read
			return nil, errors.New("malformed PEM")
		}
		alg, key, err := publicKey(block)
		if err != nil {
			return nil, fmt.Errorf("block %d: %w", n, err)
		}
		k.add(alg, key)
	}
	return k, nil
}

func (k *Keys) add(algorithm string, key jwt.VerificationKey) {
	k.byAlgorithm[algorithm] = append(k.byAlgorithm[algorithm], key)
}

// checkSecret rejects a secret that is too short, and public keys in formats that are not
// supported: used as a secret, they would be a public one. A key in DER may end with the
// byte of a line feed.
func checkSecret(b, file []byte) error {
	switch {
	case len(b) < minSecret:
		return fmt.Errorf("neither PEM nor a secret of at least %d bytes: there are %d", minSecret, len(b))
	case isDER(b) || isDER(file):
		return errors.New("a public key in DER: want it in PEM (openssl pkey -pubin -inform DER)")
	case bytes.HasPrefix(b, []byte("ssh-")) || bytes.HasPrefix(b, []byte("ecdsa-sha2-")):
		return errors.New("a public key of SSH: want it in PEM (ssh-keygen -e -m PKCS8)")
	case jsontext.Value(b).IsValid() && bytes.Contains(b, []byte(`"kty"`)):
		return errors.New("a JSON Web Key: want it in PEM, or the secret itself")
	}
	return nil
}

func isDER(b []byte) bool {
	_, notPKIX := x509.ParsePKIXPublicKey(b)
	_, notPKCS1 := x509.ParsePKCS1PublicKey(b)
	_, notCertificate := x509.ParseCertificate(b)
	return notPKIX == nil || notPKCS1 == nil || notCertificate == nil
}

// publicKey reads a block of PEM and returns the algorithm that the key is for.
func publicKey(block *pem.Block) (algorithm string, key jwt.VerificationKey, err error) {
	var public any
	switch {
	case block.Type == "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case block.Type == "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case block.Type == "CERTIFICATE":
		var c *x509.Certificate
		if c, err = x509.ParseCertificate(block.Bytes); err == nil {
			public = c.PublicKey
		}
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return "", nil, errors.New("a private key: want the public key (openssl pkey -pubout); only the issuer of tokens should have the private one")
	default:
		return "", nil, fmt.Errorf("want PUBLIC KEY, RSA PUBLIC KEY or CERTIFICATE, not %q", block.Type)
	}
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", block.Type, err)
	}
	switch public := public.(type) {
	case *rsa.PublicKey:
		if bits := public.N.BitLen(); bits < minRSA {
			return "", nil, fmt.Errorf("RSA of %d bits: want at least %d", bits, minRSA)
		}
		return "RS256", public, nil
	case *ecdsa.PublicKey:
		if public.Curve != elliptic.P256() {
			return "", nil, fmt.Errorf("ECDSA on %s: want P-256", public.Curve.Params().Name)
		}
		return "ES256", public, nil
	case ed25519.PublicKey:
		return "EdDSA", public, nil
	}
	return "", nil, fmt.Errorf("a key of type %T: want RSA, ECDSA or Ed25519", public)
}

var (
	errNoKey    = errors.New("no key for the algorithm")
	errCritical = errors.New("unknown critical extension")
	errHeader   = fmt.Errorf("%w: header", jwt.ErrTokenMalformed)
)

// checkHeader checks the header of a token, except its algorithm and its key.
func checkHeader(t *jwt.Token) error {
	if !strictHeader(t.Raw) {
		return errHeader
	}
	// RFC 7515 section 4.1.11: an extension that must be understood and is not makes the
	// token invalid. Package jwt does not check this.
	if _, critical := t.Header["crit"]; critical {
		return errCritical
	}
	return nil
}

// forAlgorithm returns the keys of the file that may have signed a token.
func (k *Keys) forAlgorithm(algorithm string) ([]jwt.VerificationKey, error) {
	keys := k.byAlgorithm[algorithm]
	if len(keys) == 0 {
		return nil, errNoKey
	}
	return keys, nil
}

// strictHeader reports whether the header of a token is UTF-8 and has each name once (RFC
// 7515 section 4).
func strictHeader(token string) bool {
	encoded, _, _ := strings.Cut(token, ".")
	header, err := base64.RawURLEncoding.DecodeString(encoded)
	return err == nil && jsontext.Value(header).IsValid()
}
