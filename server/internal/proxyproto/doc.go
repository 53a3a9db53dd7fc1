// Package proxyproto reads the header in which a proxy names the client of a connection:
// the PROXY protocol of HAProxy, versions 1 and 2
// (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt).
//
// [Parse] takes bytes and keeps nothing. [Conn] reads the header of a net.Conn that a
// goroutine serves.
package proxyproto
