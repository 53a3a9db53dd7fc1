package limit

import "testing"

func TestConnections(t *testing.T) {
	for n, want := range map[int]int{0: 1, 64: 1, 65: 1, 66: 2, 1024: 960, 4096: 3840, 1 << 20: 15 << 16} {
		if got := connections(n); got != want {
			t.Errorf("%d descriptors: %d connections, want %d", n, got, want)
		}
	}
	if n := Descriptors(); n < 1 {
		t.Errorf("Descriptors() is %d", n)
	}
}
