package netpoll

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A connection may be closed while its engine is. Its wake-up must not reach a file
// that was given the number of the waker.
func TestWakeAfterClose(t *testing.T) {
	p, err := newEpoll()
	if err != nil {
		t.Fatal(err)
	}
	number := p.waker.fd
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(t.TempDir() + "/other")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Dup2(int(f.Fd()), number); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(number)
	p.Wake()
	if info, err := f.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("%d bytes were written to another file, %v", info.Size(), err)
	}
}
