package proc

import (
	"os"
	"strings"
)

// Environ is this process's environment with further settings in GODEBUG, beside those that are there.
func Environ(settings string) []string {
	if old := os.Getenv("GODEBUG"); old != "" && settings != "" {
		settings = old + "," + settings
	}
	environ := os.Environ()
	if settings == "" {
		return environ
	}
	kept := environ[:0]
	for _, e := range environ {
		if !strings.HasPrefix(e, "GODEBUG=") {
			kept = append(kept, e)
		}
	}
	return append(kept, "GODEBUG="+settings)
}
