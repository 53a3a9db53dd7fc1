package settings

import (
	"log/slog"
	"time"

	"fanfare/server/revoke"
)

// revocationFlags are about identities that are not accepted any more.
type revocationFlags struct {
	RevocationAge     time.Duration `help:"Serve /v1/revocations, and keep a revocation for this long: the longest lifetime of a token, such as 30d; 0: tokens cannot be revoked." default:"0s" group:"Security"`
	RevocationEntries int           `help:"Maximum number of revocations." default:"10000" group:"Security"`
}

// revocations is the configuration of the list, nil if there is none. Its store is open
// later.
func (f *revocationFlags) revocations(log *slog.Logger) *revoke.Config {
	if f.RevocationAge == 0 {
		return nil
	}
	return &revoke.Config{Age: f.RevocationAge, Entries: f.RevocationEntries, Logger: log}
}
