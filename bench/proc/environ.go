package proc

import (
	"os"
	"strings"
)

// Environ returns the environment of this process with settings added to GODEBUG.
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
