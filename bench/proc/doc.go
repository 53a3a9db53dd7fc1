// Package proc reads resource usage from Linux: CPU time of a process to the nanosecond, its resident memory, kernel
// slab memory, and a description of the machine.
package proc
