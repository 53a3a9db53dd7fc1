// Package certs makes the tls.Config of a listener, and of its clients, from the files that
// flags name: certificates, private keys, OCSP responses and authorities. It reads them
// again while the server runs, and keeps the last configuration that could be used.
//
// [Open] reads the files, [Certificates.Look] reads them again if they have changed.
// Errors name the flag of a file. Time enters as an argument.
package certs
