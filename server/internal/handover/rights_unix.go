//go:build unix

package handover

import (
	"fmt"

	"golang.org/x/sys/unix"
)

var rightsSpace = unix.CmsgSpace(4 * MaxDescriptors)

func rights(fds []int) []byte { return unix.UnixRights(fds...) }

func truncated(flags int) bool { return flags&unix.MSG_CTRUNC != 0 }

// parseRights returns the descriptors in a control message.
func parseRights(oob []byte) (fds []int, err error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("handover: receive descriptors: %w", err)
	}
	for i := range messages {
		more, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return fds, fmt.Errorf("handover: receive descriptors: %w", err)
		}
		fds = append(fds, more...)
	}
	return fds, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
