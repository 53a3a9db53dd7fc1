package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/MicahParks/jwkset"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"
)

const (
	maxSetKeys = 100     // keys that are used of one set; large issuers publish about twenty
	maxRSA     = 8 << 10 // bits; the cost of a verification grows with the square
)

// keyID is what a token's header says about its key.
type keyID struct{ algorithm, kid string }

// jwks are the keys of one JSON Web Key Set that verify signatures (RFC 7517). It is
// immutable.
type jwks struct {
	// by has the keys for each algorithm and kid, and under an empty kid all keys for the
	// algorithm, for tokens without a kid.
	by      map[keyID][]jwt.VerificationKey
	kids    []string // of the keys that are used, sorted; for the log
	skipped []string // why other keys are not used
}

// parseJWKS reads a key set. A key that cannot be used is skipped: an issuer may publish
// keys for encryption, or of a type that is yet to come. It is an error if no key is left.
// secrets says whether the set may have symmetric keys, which must not be published.
func parseJWKS(data []byte, secrets bool) (*jwks, error) {
	var set struct {
		Keys []jsontext.Value `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("not a JSON Web Key Set (RFC 7517 section 5): %w", err)
	}
	if set.Keys == nil {
		return nil, errors.New(`not a JSON Web Key Set: want {"keys":[…]}`)
	}
	k := &jwks{by: make(map[keyID][]jwt.VerificationKey)}
	for i, text := range set.Keys {
		if len(k.kids) == maxSetKeys {
			k.skipped = append(k.skipped, fmt.Sprintf("%d keys beyond the first %d", len(set.Keys)-i, maxSetKeys))
			break
		}
		if err := k.add(text, secrets); err != nil {
			k.skipped = append(k.skipped, fmt.Sprintf("key %d: %s", i+1, err))
		}
	}
	if len(k.kids) == 0 {
		if len(k.skipped) == 0 {
			return nil, errors.New("the key set is empty")
		}
		return nil, fmt.Errorf("no key of the set can be used: %s", strings.Join(k.skipped, "; "))
	}
	slices.Sort(k.kids)
	return k, nil
}

// add adds a key of the set.
func (k *jwks) add(text jsontext.Value, secrets bool) error {
	var m jwkset.JWKMarshal
	if err := json.Unmarshal(text, &m); err != nil {
		return err
	}
	// RFC 7517 sections 4.2 and 4.3.
	if m.USE != "" && m.USE != jwkset.UseSig {
		return fmt.Errorf("its use is %q, not sig", m.USE)
	}
	if len(m.KEYOPS) > 0 && !slices.Contains(m.KEYOPS, jwkset.KeyOpsVerify) {
		return fmt.Errorf("its key_ops %q do not contain verify", m.KEYOPS)
	}
	var key jwt.VerificationKey
	var algorithms []string
	var err error
	if m.KTY == jwkset.KtyOct {
		key, algorithms, err = secretOf(&m, secrets)
	} else {
		key, algorithms, err = publicOf(&m)
	}
	if err != nil {
		return err
	}
	if m.ALG != "" { // RFC 7517 section 4.4
		alg := string(m.ALG)
		if alg == "Ed25519" { // RFC 9864 section 2.2
			alg = "EdDSA"
		}
		if !slices.Contains(algorithms, alg) {
			return fmt.Errorf("its alg is %q: want one of %s", m.ALG, strings.Join(algorithms, ", "))
		}
		algorithms = []string{alg}
	}
	for _, alg := range algorithms {
		k.by[keyID{alg, ""}] = append(k.by[keyID{alg, ""}], key)
		if m.KID != "" {
			k.by[keyID{alg, m.KID}] = append(k.by[keyID{alg, m.KID}], key)
		}
	}
	k.kids = append(k.kids, m.KID)
	return nil
}

// secretOf returns a symmetric key.
func secretOf(m *jwkset.JWKMarshal, allowed bool) (jwt.VerificationKey, []string, error) {
	if !allowed {
		return nil, nil, errors.New("it is a secret (kty oct), which must not be published: want a public key")
	}
	secret, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(m.K, "="))
	if err != nil {
		return nil, nil, errors.New("its k is not base64url")
	}
	// RFC 7518 section 3.2: a key has at least the length of the hash.
	var algorithms []string
	for _, a := range []struct {
		name string
		size int
	}{{"HS256", 32}, {"HS384", 48}, {"HS512", 64}} {
		if len(secret) >= a.size {
			algorithms = append(algorithms, a.name)
		}
	}
	if algorithms == nil {
		return nil, nil, fmt.Errorf("its secret has %d bytes: want at least %d", len(secret), minSecret)
	}
	return secret, algorithms, nil
}

// publicOf returns a public key and the algorithms that it may verify.
func publicOf(m *jwkset.JWKMarshal) (jwt.VerificationKey, []string, error) {
	if m.D != "" {
		return nil, nil, errors.New("it is a private key, which must not be published: want the public one, and replace the key pair")
	}
	// Only what makes the key is passed on: other members are checked by add, or, as
	// certificates, not used.
	jwk, err := jwkset.NewJWKFromMarshal(jwkset.JWKMarshal{KTY: m.KTY, CRV: m.CRV, X: m.X, Y: m.Y, N: m.N, E: m.E},
		jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return nil, nil, err
	}
	switch key := jwk.Key().(type) {
	case *rsa.PublicKey:
		bits := key.N.BitLen()
		if bits < minRSA || bits > maxRSA {
			return nil, nil, fmt.Errorf("RSA of %d bits: want %d to %d", bits, minRSA, maxRSA)
		}
		if e := strings.TrimRight(m.E, "="); len(e) > 6 || key.E < 3 || key.E%2 == 0 { // 4 bytes of base64; jwkset cuts it to 64 bits
			return nil, nil, errors.New("RSA with an exponent that is out of range")
		}
		return key, []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}, nil
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256():
			return key, []string{"ES256"}, nil
		case elliptic.P384():
			return key, []string{"ES384"}, nil
		case elliptic.P521():
			return key, []string{"ES512"}, nil
		}
	case ed25519.PublicKey:
		return key, []string{"EdDSA"}, nil
	}
	return nil, nil, fmt.Errorf("kty %q with crv %q does not verify signatures", m.KTY, m.CRV)
}
