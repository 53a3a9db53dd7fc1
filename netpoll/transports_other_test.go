//go:build !linux

package netpoll

var transports = []Transport{Goroutine}
