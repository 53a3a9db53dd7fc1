// Package listen opens the listeners that addresses name: "host:port" for TCP, and
// "unix:PATH?mode=0660&owner=USER:GROUP" for a Unix socket with its mode and owner.
//
// The public listener of package server and the API take such addresses. A Unix socket that
// a killed process has left is removed; one on which a process still listens is an error.
//
// # Limitations
//
// An address is one listener: there is no list, and no name of a network interface. Setting
// the owner of a socket takes the rights that chown takes.
package listen
