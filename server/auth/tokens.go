package auth

import (
	"context"
	"sync/atomic"

	"fanfare/server"
)

// Tokens identifies clients as JWT does, with keys that SetKeys replaces while the server
// runs. Use NewTokens to create one.
type Tokens struct {
	verifier atomic.Pointer[verifier]
}

// NewTokens returns Tokens that verify with keys, which must not be changed afterwards.
func NewTokens(keys *Keys) *Tokens {
	t := new(Tokens)
	t.SetKeys(keys)
	return t
}

// SetKeys replaces the keys, and the other settings of Keys, for handshakes from now on.
// Sessions that are open stay, whichever key their token was signed with.
func (t *Tokens) SetKeys(keys *Keys) { t.verifier.Store(newVerifier(keys)) }

// Identify is a server.Identifier. It does not block: set Endpoint.NonBlocking.
func (t *Tokens) Identify(ctx context.Context, r *server.Request) (server.Identity, error) {
	return t.verifier.Load().identify(ctx, r)
}
