package servers

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// makeDir creates the directory of a server's files, if there is none.
func (a *Addresses) makeDir() (err error) {
	if a.Dir == "" {
		if a.Dir, err = os.MkdirTemp("", "fanfare-bench-"); err != nil {
			return fmt.Errorf("servers: files: %w", err)
		}
	}
	return nil
}

// prepare makes what a server needs: credentials, and its files in a new directory.
func (s *Spec) prepare(a *Addresses, ping time.Duration) (c Credentials, err error) {
	if s.Credentials != nil {
		if c, err = s.Credentials(); err != nil {
			return c, fmt.Errorf("servers: %s: credentials: %w", s.Name, err)
		}
	}
	if s.Files == nil {
		return c, nil
	}
	if err := a.makeDir(); err != nil {
		return c, err
	}
	for name, text := range s.Files(*a, ping, c) {
		if err := os.WriteFile(filepath.Join(a.Dir, name), []byte(text), 0o600); err != nil {
			os.RemoveAll(a.Dir)
			return c, fmt.Errorf("servers: files: %w", err)
		}
	}
	return c, nil
}

func (s *Server) removeFiles() {
	if s.dir != "" {
		os.RemoveAll(s.dir)
	}
}
