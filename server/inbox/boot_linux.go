package inbox

import (
	"os"
	"strings"
)

// bootID names the time since the machine started: what a process wrote, another one
// reads until then, flushed or not.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
