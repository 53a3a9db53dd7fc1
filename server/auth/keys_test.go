package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestLoadKeys(t *testing.T) {
	block := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	rsaKey := signers["RS256"][0].(*rsa.PrivateKey)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotAfter: time.Now()}
	certificate, err := x509.CreateCertificate(rand.Reader, &template, &template, rsaKey.Public(), rsaKey)
	if err != nil {
		t.Fatal(err)
	}
	lineFeed := certificate // one whose last byte could be taken for the end of a line
	for n := int64(2); lineFeed[len(lineFeed)-1] != '\n'; n++ {
		template.SerialNumber.SetInt64(n)
		if lineFeed, err = x509.CreateCertificate(rand.Reader, &template, &template, rsaKey.Public(), rsaKey); err != nil {
			t.Fatal(err)
		}
	}
	small := rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537}
	rsaPEM, ecPEM, edPEM := publicPEM(signers["RS256"][0]), publicPEM(signers["ES256"][0]), publicPEM(signers["EdDSA"][0])
	der, _ := pem.Decode(rsaPEM)
	secret := []byte(strings.Repeat("s", minSecret))

	tests := []struct {
		name string
		data []byte
		want string // how many keys of each algorithm, or a part of the error
	}{
		{"secret", secret, "HS256:1 "},
		{"secret in a line", append(slices.Clone(secret), '\n'), "HS256:1 "},
		{"secret in a line of Windows", append(slices.Clone(secret), "\r\n"...), "HS256:1 "},
		{"secret too short", secret[1:], "at least 32 bytes: there are 31"},
		{"secret too short without its line break", append(slices.Clone(secret[1:]), '\n'), "there are 31"},
		{"empty", nil, "there are 0"},
		{"RSA", rsaPEM, "RS256:1 "},
		{"ECDSA", ecPEM, "ES256:1 "},
		{"Ed25519", edPEM, "EdDSA:1 "},
		{"all", slices.Concat(rsaPEM, []byte("comment\n"), ecPEM, edPEM, rsaPEM), "ES256:1 EdDSA:1 RS256:2 "},
		{"PKCS #1", block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey)), "RS256:1 "},
		{"certificate", block("CERTIFICATE", certificate), "RS256:1 "},
		{"RSA too small", block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&small)), "block 1: RSA of 1024 bits"},
		{"other curve", publicPEM(p384), "block 1: ECDSA on P-384"},
		{"second is bad", slices.Concat(rsaPEM, block("PUBLIC KEY", []byte("x"))), "block 2: PUBLIC KEY: "},
		{"private key", block("PRIVATE KEY", []byte("x")), "block 1: a private key"},
		{"private key of RSA", block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)), "block 1: a private key"},
		{"request", block("CERTIFICATE REQUEST", []byte("x")), `not "CERTIFICATE REQUEST"`},
		{"cut", rsaPEM[:len(rsaPEM)/2], "malformed PEM"},
		{"cut before another", slices.Concat(rsaPEM[:len(rsaPEM)/2], []byte("\n"), ecPEM), "malformed PEM"},
		{"too many", bytes.Repeat(edPEM, maxKeys+1), "17 keys: want at most 16"},
		{"DER", der.Bytes, "a public key in DER"},
		{"DER of PKCS #1", x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey), "a public key in DER"},
		{"DER of a certificate", certificate, "a public key in DER"},
		{"DER that ends like a line", lineFeed, "a public key in DER"},
		{"DER and a line feed", append(slices.Clone(certificate), '\n'), "a public key in DER"},
		{"SSH", []byte("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ me@here"), "a public key of SSH"},
		{"JWK", []byte(`{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}`), "a JSON Web Key"},
		{"too long", make([]byte, maxKeysFile+1), "longer than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys")
			if err := os.WriteFile(path, tt.data, 0o600); err != nil {
				t.Fatal(err)
			}
			keys, err := LoadKeys(path)
			if got := describeKeys(keys, err); !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if err != nil && !strings.Contains(err.Error(), path) {
				t.Errorf("%v does not name the file", err)
			}
		})
	}
	if _, err := LoadKeys(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func describeKeys(k *Keys, err error) string {
	if err != nil {
		return err.Error()
	}
	var s strings.Builder
	for _, algorithm := range []string{"ES256", "EdDSA", "HS256", "RS256"} {
		if n := len(k.byAlgorithm[algorithm]); n > 0 {
			s.WriteString(algorithm + ":" + string(rune('0'+n)) + " ")
		}
	}
	return s.String()
}
