// Package scenario holds what is measured: each scenario starts nothing itself, but is given a fresh server
// process and a fresh fleet of clients, measures, and returns a Sample.
package scenario
