// Package pusher tests that an application which uses github.com/pusher/pusher-http-go, the Go
// library of Pusher, works with fanfare after a change of host and keys.
package pusher
