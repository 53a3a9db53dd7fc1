//go:build !linux

package api

func residentBytes() int64 { return 0 }
