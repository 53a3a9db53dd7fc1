//go:build !linux

package inbox

// bootID is unknown: the machine may have been restarted.
func bootID() string { return "" }
