package datadir

import (
	"os"
	"strings"
)

// BootID names the time since the machine started. Within it, a process reads what another
// one wrote, flushed or not.
func BootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
