package inbox

import (
	"errors"
	"fmt"
)

var (
	// ErrFull: a limit is reached, and the policy is to refuse.
	ErrFull = errors.New("inbox: full")
	// ErrTooBig: one message exceeds Config.Bytes, or what NATS transports.
	ErrTooBig = errors.New("inbox: message too big")
	// ErrUnavailable: NATS did not answer, or said no. A message may have been
	// stored all the same: repeat the Append with the same ID.
	ErrUnavailable = errors.New("inbox: the store is not available")
	// ErrDiskFull is ErrUnavailable for an embedded store whose disk has no room.
	ErrDiskFull = fmt.Errorf("%w: the disk is full", ErrUnavailable)
	// ErrDamaged: the files of the embedded store are not what they were.
	ErrDamaged = errors.New("inbox: the store is damaged")
	// ErrLocked: another process has the directory.
	ErrLocked = errors.New("inbox: the directory is in use")
)
