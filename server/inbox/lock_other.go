//go:build !unix

package inbox

import (
	"fmt"
	"os"
)

func lockDir(file string) (*os.File, error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("inbox: %w", err)
	}
	return f, nil
}
