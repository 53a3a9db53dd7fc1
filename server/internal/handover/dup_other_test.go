//go:build !unix

package handover

import (
	"errors"
	"os"
)

func duplicate(*os.File) (int, error) { return 0, errors.ErrUnsupported }
