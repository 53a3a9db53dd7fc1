//go:build !linux

package netpoll

import (
	"io"
	"net"
)

func openDescriptors() int      { return 0 }
func listDescriptors(io.Writer) {}
func smallBuffers(net.Listener) {}
