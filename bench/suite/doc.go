// Package suite runs scenarios on servers. In every round each server has one turn, in random order, with a new server
// process and new client processes, so that all servers meet the same conditions.
package suite
