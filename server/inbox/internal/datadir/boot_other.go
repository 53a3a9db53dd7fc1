//go:build !linux

package datadir

// BootID is unknown: the machine may have been restarted.
func BootID() string { return "" }
