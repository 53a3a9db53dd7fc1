package embed

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestSize bounds what the server adds to a program: at most 2 MiB more than
// gorilla/websocket. If it fails, see what go list -deps fanfare/server names.
func TestSize(t *testing.T) {
	if testing.Short() {
		t.Skip("builds two programs")
	}
	const most = 2 << 20
	size := func(program string) int64 {
		file := filepath.Join(t.TempDir(), program)
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", file, "./testdata/"+program)
		cmd.Env = append(os.Environ(), "GOFLAGS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	fanfare, gorilla := size("fanfare"), size("gorilla")
	t.Logf("fanfare %d bytes, gorilla %d bytes", fanfare, gorilla)
	if fanfare-gorilla > most {
		t.Errorf("the program is %d bytes larger than on gorilla/websocket, at most %d are allowed", fanfare-gorilla, most)
	}
}
