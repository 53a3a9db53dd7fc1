//go:build !linux

package netpoll

var kinds = []Kind{Goroutine}
