//go:build !linux

package server

func residentBytes() int64 { return 0 }
