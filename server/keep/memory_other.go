//go:build !linux

package keep

import (
	"errors"
	"os"

	"fanfare/server"
)

func newMemory() (*os.File, error) { return nil, errors.ErrUnsupported }

func mapMarks(*os.File) (server.Marks, error) { return nil, errors.ErrUnsupported }

func unmap(server.Marks) {}

func closeAll([]int) {}

func duplicate(int) (int, error) { return -1, errors.ErrUnsupported }

func sendLast(int, []byte) {}

func end(int) {}

func pair() (ours, theirs *os.File, err error) { return nil, nil, errors.ErrUnsupported }
