// Package query reads parameters of requests. None is ignored: a misspelt one would change what
// happens.
package query
