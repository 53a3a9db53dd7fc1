package messagenats

import (
	"testing"

	"fanfare/internal/leak"
)

// TestMain fails the package if a goroutine is left.
func TestMain(m *testing.M) {
	leak.Main(m, patience, "testing.(*M).startAlarm", "os/signal.")
}
