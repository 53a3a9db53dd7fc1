package proc

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"
)

// noProcess is the largest process number of Linux, which no process has here.
const noProcess = 1<<22 - 1

// burn keeps one core busy for about d of CPU time.
func burn(d time.Duration) {
	begin, _ := CPU(os.Getpid())
	for {
		for range 100_000 {
		}
		if now, _ := CPU(os.Getpid()); now-begin > d {
			return
		}
	}
}

func TestCPU(t *testing.T) {
	before, err := CPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	burn(20 * time.Millisecond)
	after, err := CPU(os.Getpid())
	if err != nil || after-before < 20*time.Millisecond || after-before > 200*time.Millisecond {
		t.Errorf("%v for 20 ms of work (%v)", after-before, err)
	}
	if _, err := CPU(noProcess); err == nil {
		t.Error("no error for a process that does not exist")
	}
}

func TestRSS(t *testing.T) {
	before, err := RSS(os.Getpid())
	if err != nil || before < 1<<20 {
		t.Fatalf("%d bytes: %v", before, err)
	}
	const size = 64 << 20
	b := make([]byte, size)
	for i := 0; i < size; i += 4096 {
		b[i] = 1
	}
	after, err := RSS(os.Getpid())
	if grown := after - before; err != nil || grown < size*9/10 || grown > size*4 { // the race detector keeps shadow memory
		t.Errorf("grown by %d for %d bytes: %v", grown, size, err)
	}
	runtime.KeepAlive(b)
	if _, err := RSS(noProcess); err == nil {
		t.Error("no error for a process that does not exist")
	}
}

func TestKernelMemory(t *testing.T) {
	k, err := KernelMemory()
	if err != nil || k.Slab < 1<<20 {
		t.Errorf("%+v: %v", k, err)
	}
}

func TestListener(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddrPort(l.Addr().String())
	if pid, err := Listener(addr); err != nil || pid != os.Getpid() {
		t.Errorf("process %d, %v", pid, err)
	}
	l.Close()
	if pid, err := Listener(addr); err != ErrNoListener {
		t.Errorf("closed: process %d, %v", pid, err)
	}
}

func TestThisMachine(t *testing.T) {
	m := ThisMachine()
	if m.Kernel == "" || m.CPU == "" || m.Cores < 1 || m.Memory < 1<<20 || m.Files == 0 || m.Sysctl["net.core.somaxconn"] == "" {
		t.Errorf("%+v", m)
	}
}

func TestBusy(t *testing.T) {
	before := Busy()
	burn(100 * time.Millisecond)
	if d := Busy() - before; d < 0.05 {
		t.Errorf("%v s of busy cores for 100 ms of work", d)
	}
	if s := Stolen(); s < 0 || s > Busy() {
		t.Errorf("%v s stolen of %v", s, Busy())
	}
}
