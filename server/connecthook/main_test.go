package connecthook

import (
	"testing"

	"fanfare/internal/leak"
	"fanfare/server/internal/hooktest"
)

// TestMain fails the package if a goroutine is left.
func TestMain(m *testing.M) {
	leak.Main(m, hooktest.Patience, "testing.(*M).startAlarm", "internal/fuzz.", "testing.runFuzzing", "os/signal.")
}
