package publisher

import (
	"testing"
	"time"

	"fanfare/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m, 10*time.Second) }
