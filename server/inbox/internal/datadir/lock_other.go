//go:build !unix

package datadir

import (
	"fmt"
	"os"
)

// LockDir only opens the file: the system has no lock that ends with the process.
func LockDir(file string) (*os.File, error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("inbox: %w", err)
	}
	return f, nil
}
