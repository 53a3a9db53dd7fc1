package vault

import (
	"context"

	"fanfare/server/revoke"
)

// Revocations returns the revocations in the store that the vault has.
func (v *Vault) Revocations() revoke.Store { return revocations{v} }

type revocations struct{ v *Vault }

func (r revocations) Put(ctx context.Context, e revoke.Entry, last uint64) (uint64, error) {
	if st := r.v.in.Load(); st != nil {
		return st.Revocations().Put(ctx, e, last)
	}
	return 0, errDetached
}

func (r revocations) Remove(ctx context.Context, id string, revision uint64) error {
	if st := r.v.in.Load(); st != nil {
		return st.Revocations().Remove(ctx, id, revision)
	}
	return errDetached
}

func (r revocations) Load(ctx context.Context, since revoke.Version) ([]revoke.Entry, revoke.Version, error) {
	if st := r.v.in.Load(); st != nil {
		return st.Revocations().Load(ctx, since)
	}
	return nil, since, errDetached
}
