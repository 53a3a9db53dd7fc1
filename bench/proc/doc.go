// Package proc reads from Linux what a process and the machine under it have used: CPU time to the
// nanosecond, resident memory, kernel slab, and the facts that a reader needs to place a measurement.
package proc
