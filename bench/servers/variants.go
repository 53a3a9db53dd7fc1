package servers

import (
	"crypto/rand"
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
