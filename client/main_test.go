package client

import (
	"testing"
	"time"

	"fanfare/internal/leak"
)

// TestMain fails the package if a goroutine is left at the end.
func TestMain(m *testing.M) {
	leak.Main(m, 10*time.Second, "testing.(*M).startAlarm", "os/signal.", "runtime.ensureSigM")
}
