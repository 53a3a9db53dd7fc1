package main

import (
	"context"
	"log/slog"
	"time"

	"fanfare/cmd/fanfare/internal/vault"
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

// revocationsPatience is how long the start waits for the revocations.
const revocationsPatience = 5 * time.Second

// openRevocations opens the list, which is read later if the store is not available.
func openRevocations(ctx context.Context, cfg revoke.Config, st *vault.Vault) (*revoke.List, error) {
	if st != nil {
		cfg.Store = st.Revocations()
	} else {
		cfg.Logger.Warn("revocations are kept in memory only", "effect", "a restart or an upgrade forgets them", "advice", "give --data-dir a directory, or --nats")
	}
	ctx, cancel := context.WithTimeout(ctx, revocationsPatience)
	defer cancel()
	return revoke.New(ctx, cfg)
}
