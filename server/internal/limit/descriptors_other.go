//go:build !unix

package limit

// OpenFiles returns how many descriptors the process may open; 0: unknown.
func OpenFiles() int { return 0 }
