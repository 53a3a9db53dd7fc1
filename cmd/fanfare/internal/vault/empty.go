package vault

import "fanfare/server/store"

// Empty implements store.Emptier.
func (v *Vault) Empty(b store.Box) bool {
	st := v.in.Load()
	return st != nil && st.Empty(b)
}
