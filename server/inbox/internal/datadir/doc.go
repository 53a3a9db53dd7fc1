// Package datadir guards the directory of an embedded store: a lock keeps other processes
// out, a Reserve keeps space for a full disk, and BootID shows whether the machine was
// started again since the files were written.
package datadir
