// Package drain closes connections at a steady rate, so that clients do not all reconnect at
// once.
package drain
