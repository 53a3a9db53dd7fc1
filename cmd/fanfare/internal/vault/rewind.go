package vault

import (
	"context"

	"fanfare/server/store"
)

// Rewind implements store.Rewinder.
func (v *Vault) Rewind(ctx context.Context, b store.Box, n int) (uint64, error) {
	if st := v.in.Load(); st != nil {
		return st.Rewind(ctx, b, n)
	}
	return 0, errDetached
}
