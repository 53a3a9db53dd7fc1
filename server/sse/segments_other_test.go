//go:build !linux

package sse_test

import (
	"net"
	"testing"
)

var segmentsReceived func(*testing.T, net.Conn) int
