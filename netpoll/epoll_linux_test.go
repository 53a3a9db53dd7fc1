package netpoll

import (
	"net"
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

// Urgent data ends a read early. What follows it is read all the same.
func TestUrgentData(t *testing.T) {
	for _, transport := range transports {
		t.Run(transport.String(), func(t *testing.T) {
			inside, release := make(chan struct{}), make(chan struct{})
			got := make(chan string, 100)
			r := newRig(t, Config{Transport: transport}, "tcp", func(s *session, b []byte) {
				if b[0] == '1' {
					close(inside)
					<-release
				}
				got <- string(b)
			})
			nc := r.dial()
			must(t, nc, "1")
			await(t, inside)
			must(t, nc, "ab")
			raw, err := nc.(*net.TCPConn).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			raw.Control(func(fd uintptr) { err = unix.Sendto(int(fd), []byte("U"), unix.MSG_OOB, nil) })
			if err != nil {
				t.Fatal(err)
			}
			must(t, nc, "cd")
			s := <-r.sessions
			eventually(t, "all has arrived", func() bool { return s.Active() })
			close(release)
			for all := ""; all != "1abcd"; {
				all += await(t, got)
			}
		})
	}
}
