package datadir

import "errors"

// ErrLocked: another process uses the directory.
var ErrLocked = errors.New("inbox: directory in use")
