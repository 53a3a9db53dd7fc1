package api

import (
	"bytes"
	"os"
	"strconv"
)

// residentBytes returns the resident memory of the process: the second field of
// proc_pid_statm(5), in pages.
func residentBytes() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	_, b, _ = bytes.Cut(b, []byte(" "))
	field, _, _ := bytes.Cut(b, []byte(" "))
	pages, _ := strconv.ParseInt(string(field), 10, 64)
	return pages * int64(os.Getpagesize())
}
