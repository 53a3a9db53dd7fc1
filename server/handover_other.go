//go:build !unix

package server

func closeFD(int) {}
