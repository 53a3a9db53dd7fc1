package servers

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Variants lists fanfare in configurations that people run: they cost what the other servers have nothing to compare
// with, and so All does not have them.
func (c Catalog) Variants() []Spec {
	version := Version(c.Fanfare)
	variant := func(name, about string, stores, tokens bool) Spec {
		spec := c.fanfare("epoll", version)
		plain := spec.Args
		spec.Name, spec.About, spec.Stores, spec.Tokens = "fanfare-"+name, "fanfare with "+about, stores, tokens
		spec.Args = func(a Addresses, ping time.Duration) []string {
			args := plain(a, ping)
			if stores {
				args = append(args, "--data-dir", a.Data)
			}
			if tokens {
				args = append(args, "--auth", "jwt", "--jwt-key-file", a.Secret, "--echo")
			}
			return args
		}
		return spec
	}
	return []Spec{
		variant("store", "its embedded store", true, false),
		variant("tokens", "tokens (HS256)", false, true),
		variant("full", "its embedded store and tokens", true, true),
	}
}

// Tokens returns the tokens of users, or nil for a server without tokens: JSON Web Tokens (RFC 7519), signed with HS256.
func (s *Server) Tokens(users []string) ([]string, error) {
	if s.Secret == "" {
		return nil, nil
	}
	expiry := time.Now().Add(24 * time.Hour).Unix()
	tokens := make([]string, len(users))
	for i, user := range users {
		encode := base64.RawURLEncoding.EncodeToString
		signed := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode(fmt.Appendf(nil, `{"sub":%q,"exp":%d,"topics":["*"]}`, user, expiry))
		mac := hmac.New(sha256.New, []byte(s.Secret))
		mac.Write([]byte(signed))
		tokens[i] = signed + "." + encode(mac.Sum(nil))
	}
	return tokens, nil
}

// prepare makes the files that a server of the Spec needs, in a new directory.
func (s *Server) prepare(at *Addresses) error {
	if !s.Spec.Stores && !s.Spec.Tokens {
		return nil
	}
	dir, err := os.MkdirTemp("", "fanfare-bench-")
	if err != nil {
		return fmt.Errorf("servers: %s: %w", s.Spec.Name, err)
	}
	s.files = dir
	if s.Spec.Stores {
		at.Data = filepath.Join(dir, "data")
	}
	if s.Spec.Tokens {
		at.Secret = filepath.Join(dir, "secret")
		s.Secret = rand.Text() + rand.Text()
		err = os.WriteFile(at.Secret, []byte(s.Secret), 0o600)
	}
	if err != nil {
		s.removeFiles()
		return fmt.Errorf("servers: %s: %w", s.Spec.Name, err)
	}
	return nil
}

// removeFiles removes what prepare has made.
func (s *Server) removeFiles() {
	if s.files != "" {
		os.RemoveAll(s.files)
	}
}
