//go:build !unix

package api

func descriptorLimit() int { return 0 }
